//! Problems in the settings: which setting, where its value came from, and what is wrong with it.
//!
//! All problems are reported at once. A message never contains the value of a secret.

use std::fmt;
use std::path::PathBuf;

/// The prefix of every environment variable that holds a setting.
pub(crate) const PREFIX: &str = "HOLDFAST__";

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingSource {
    /// `config/default.toml`.
    Default,
    /// A file given with `--config`.
    File(PathBuf),
    /// An environment variable.
    Environment,
}

/// One problem in the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingProblem {
    /// The setting, such as `worker.concurrency`; empty when a whole file cannot be read.
    pub key: String,
    /// Where its value came from.
    pub source: SettingSource,
    /// What is wrong with it.
    pub message: String,
}

impl SettingProblem {
    /// Returns the environment variable of the setting, such as `HOLDFAST__WORKER__CONCURRENCY`.
    pub fn variable(&self) -> String {
        variable(&self.key)
    }
}

impl fmt::Display for SettingProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(formatter, "{} ({})", self.key, self.variable())?;
            if let SettingSource::File(path) = &self.source {
                write!(formatter, " in {}", path.display())?;
            }
            formatter.write_str(": ")?;
        }
        formatter.write_str(&self.message)
    }
}

/// All problems in the settings, at least one. `Display` writes one line for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError(pub Vec<SettingProblem>);

impl fmt::Display for SettingsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(formatter, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingsError {}

/// Returns the environment variable of a key: `worker.node` becomes `HOLDFAST__WORKER__NODE`.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase().replace('.', "__"))
}
