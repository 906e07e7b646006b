//! Sets up logging, once, for the whole process. Lines go to stderr: stdout belongs to commands.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::settings::LogFormat;

/// Logs to stderr from now on, as people read it or as one JSON object a line.
///
/// Colours are for terminals only, and for those who have not set `NO_COLOR`. A second call changes
/// nothing: tests in one process share the first.
///
/// # Errors
/// When `filter` is no list of directives; the settings have checked theirs before.
pub fn init(format: LogFormat, filter: &str) -> Result<(), ParseError> {
    let filter = EnvFilter::builder().parse(filter)?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // It fails only when somebody has set up logging before.
    let _ = match format {
        LogFormat::Human => lines.with_ansi(colours).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_ansi(false).try_init(),
    };
    Ok(())
}
