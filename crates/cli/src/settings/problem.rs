//! What is wrong with the settings, told all at once and with the names to change.

use std::fmt;

use super::layers::{SettingSource, variable};

/// One thing that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting, such as `worker.concurrency`; empty when a whole file cannot be read.
    pub key: String,
    /// Where its value came from.
    pub origin: SettingSource,
    /// What is wrong with it; never the value of a secret.
    pub message: String,
}

impl Problem {
    /// The environment variable that sets the same, such as `HOLDFAST__WORKER__CONCURRENCY`.
    pub fn variable(&self) -> String {
        variable(&self.key)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(formatter, "{} ({})", self.key, self.variable())?;
            if let SettingSource::File(path) = &self.origin {
                write!(formatter, " in {}", path.display())?;
            }
            formatter.write_str(": ")?;
        }
        formatter.write_str(&self.message)
    }
}

/// Everything that is wrong with the settings: one line each, never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(formatter, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
