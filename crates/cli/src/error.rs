//! The error of a command: one line for the user.

use std::{fmt, io};

use serde_json::Value;

use holdfast_domain::error_chain::chain;

/// The exit code of a program that SIGPIPE has ended, as a shell shows it.
const BROKEN_PIPE_EXIT_CODE: u8 = 128 + 13;

/// The error of a command. Its text says what failed, on what, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError {
    text: String,
    /// The result to print in spite of the error.
    result: Option<Box<Value>>,
    exit_code: u8,
}

impl CommandError {
    /// Creates an error with exit code 1.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            result: None,
            exit_code: 1,
        }
    }

    /// Creates an error from what failed, and its cause with all sources.
    pub fn with_cause(what: impl fmt::Display, cause: &dyn std::error::Error) -> Self {
        Self::new(format!("{what}: {}", chain(cause)))
    }

    /// Creates the error of a command that cannot write to stdout. If the reader has closed the
    /// pipe (`| head`), the command ends like other Unix programs: without a text, and with the
    /// exit code of SIGPIPE.
    pub fn stdout(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new("").with_exit_code(BROKEN_PIPE_EXIT_CODE),
            _ => Self::new(format!("cannot write to stdout: {error}")),
        }
    }

    /// Puts what else has failed before the text. The command then always has a text, and exit
    /// code 1.
    #[must_use]
    pub fn after(self, what: &str) -> Self {
        let cause = match self.text.as_str() {
            "" => "stdout is closed",
            text => text,
        };
        Self::new(format!("{what}: {cause}"))
    }

    /// Returns whether there is nothing to tell the user.
    pub fn is_silent(&self) -> bool {
        self.text.is_empty()
    }

    /// Adds a result that the command prints in spite of the error.
    #[must_use]
    pub fn with_result(self, result: Value) -> Self {
        let result = Some(Box::new(result));
        Self { result, ..self }
    }

    /// Returns the result that the command prints in spite of the error.
    pub fn result(&self) -> Option<&Value> {
        self.result.as_deref()
    }

    /// Sets the exit code of the process.
    #[must_use]
    pub fn with_exit_code(mut self, exit_code: u8) -> Self {
        self.exit_code = exit_code;
        self
    }

    /// Returns the exit code of the process.
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }
}

impl fmt::Display for CommandError {
    /// Writes the text on one line; line breaks become semicolons.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, line) in self
            .text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .enumerate()
        {
            if i > 0 {
                f.write_str("; ")?;
            }
            f.write_str(line)?;
        }
        Ok(())
    }
}

impl std::error::Error for CommandError {}

macro_rules! command_error_from {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for CommandError {
            fn from(error: $error) -> Self {
                Self::new(chain(&error))
            }
        })*
    };
}

command_error_from!(
    holdfast_archive::Error,
    holdfast_db::Error,
    holdfast_postgres::Error,
    holdfast_storage::Error,
    holdfast_api::PanelAuthError,
    holdfast_api::ServeError,
    crate::settings::SettingsError,
    reqwest::Error,
    std::io::Error,
    tokio::task::JoinError,
);
