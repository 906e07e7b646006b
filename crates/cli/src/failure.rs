//! Why a command failed: one line for the person who typed it.

use std::fmt;

use serde_json::Value;

use holdfast_domain::error_chain::chain;

/// Why a command failed. It says what failed, on what, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    text: String,
    /// What was found all the same.
    result: Option<Box<Value>>,
    exit_code: u8,
}

impl Failure {
    /// Makes a failure out of its text.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            result: None,
            exit_code: 1,
        }
    }

    /// Makes a failure of `what` out of an error and all its sources.
    pub fn of(what: impl fmt::Display, error: &dyn std::error::Error) -> Self {
        Self::new(format!("{what}: {}", chain(error)))
    }

    /// The same failure, of a command that has something to show all the same.
    #[must_use]
    pub fn with_result(self, result: Value) -> Self {
        let result = Some(Box::new(result));
        Self { result, ..self }
    }

    /// Returns what the command has to show all the same.
    pub fn result(&self) -> Option<&Value> {
        self.result.as_deref()
    }

    /// Has the process say more than "failed" by its exit code.
    #[must_use]
    pub fn with_exit_code(mut self, exit_code: u8) -> Self {
        self.exit_code = exit_code;
        self
    }

    /// What the process ends with: 1 unless something else was said.
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }
}

impl fmt::Display for Failure {
    /// Writes it on one line, whatever it is made of.
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

impl std::error::Error for Failure {}

macro_rules! failure_from {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::new(chain(&error))
            }
        })*
    };
}

failure_from!(
    holdfast_archive::Error,
    holdfast_db::Error,
    holdfast_postgres::Error,
    holdfast_storage::Error,
    holdfast_api::ServeError,
    crate::settings::Problems,
    reqwest::Error,
    std::io::Error,
    tokio::task::JoinError,
);
