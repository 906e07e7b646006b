//! The stop signals of the process.

use tokio::signal::unix::{SignalKind, signal};

use crate::error::CommandError;

/// Waits for SIGINT (Ctrl-C) or SIGTERM.
///
/// # Errors
/// When the signal handlers cannot be installed.
pub async fn requested() -> Result<(), CommandError> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
