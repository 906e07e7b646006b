//! The stop signals of the process.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::CommandError;

/// Waits for SIGINT (Ctrl-C), SIGTERM, or SIGHUP (the terminal was closed). A SIGHUP that the
/// starter of the process ignores, as `nohup` does, stays ignored.
///
/// # Errors
/// When the signal handlers cannot be installed.
pub async fn requested() -> Result<(), CommandError> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = match is_ignored(SignalKind::hangup()) {
        true => None,
        false => Some(signal(SignalKind::hangup())?),
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = received(hangup.as_mut()) => {}
    }
    Ok(())
}

async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Returns whether the process ignores a signal. Where that is not known, it does not.
fn is_ignored(kind: SignalKind) -> bool {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (kind.as_raw_value() - 1)) != 0)
}
