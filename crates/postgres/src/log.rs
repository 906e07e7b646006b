//! The log of Postgres, and the lines in it that explain an error.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use crate::Error;

/// The size in bytes at which the log is rotated at the next start.
const ROTATE_BYTES: u64 = 10 * 1024 * 1024;

/// The number of bytes at the end of the log that are searched.
const TAIL_BYTES: u64 = 64 * 1024;

/// A log file, and the position in it at which the current run started.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) path: PathBuf,
    start: u64,
}

impl Log {
    /// Opens the log of a cluster. A large one is renamed to `postgres.log.1` first.
    ///
    /// # Errors
    /// When the large log cannot be renamed.
    pub(crate) fn open(directory: &Path) -> Result<Self, Error> {
        let path = directory.join("postgres.log");
        let mut start = fs_err::symlink_metadata(&path).map_or(0, |metadata| metadata.len());
        if start > ROTATE_BYTES {
            fs_err::rename(&path, directory.join("postgres.log.1"))?;
            start = 0;
        }
        Ok(Self { path, start })
    }

    /// Sets the start of the current run to the end of the log.
    pub(crate) fn mark(&mut self) {
        self.start = fs_err::symlink_metadata(&self.path).map_or(0, |metadata| metadata.len());
    }

    /// Returns the reason that the current run failed, on one line.
    pub(crate) fn reason(&self) -> String {
        let text = self.tail().unwrap_or_default();
        reason_in(&text).unwrap_or_else(|| format!("it wrote nothing to {}", self.path.display()))
    }

    fn tail(&self) -> std::io::Result<String> {
        let mut file = fs_err::File::open(&self.path)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(
            self.start.max(end.saturating_sub(TAIL_BYTES)),
        ))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Returns the last fatal line with its details, or else the last line.
fn reason_in(text: &str) -> Option<String> {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let after = |line: &str, word: &str| {
        line.find(word)
            .map(|at| line[at + word.len()..].trim().to_owned())
    };
    let fatal = lines.iter().rposition(|line| {
        ["FATAL:", "PANIC:", "initdb: error:"]
            .iter()
            .any(|word| line.contains(word))
    });
    let Some(fatal) = fatal else {
        return lines.last().map(|line| (*line).to_owned());
    };
    let message = ["FATAL:", "PANIC:", "initdb: error:"]
        .iter()
        .find_map(|word| after(lines[fatal], word))?;
    let details = lines[fatal + 1..].iter().take(4).map_while(|line| {
        ["DETAIL:", "HINT:"]
            .iter()
            .find_map(|word| after(line, word))
    });
    Some(details.fold(message, |text, detail| format!("{text}; {detail}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_last_fatal_line_with_its_details() {
        let table = [
            ("", None),
            ("\n \n", None),
            (
                "sh: 1: exec: /x: not found\n",
                Some("sh: 1: exec: /x: not found"),
            ),
            (
                "2026-01-01 10:00:00 UTC [1] FATAL:  lock file exists\n2026-01-01 [1] HINT:  Is \
                 it running?\n2026 [1] LOG:  bye\n",
                Some("lock file exists; Is it running?"),
            ),
            (
                "creating...\ninitdb: error: invalid locale name \"x\"\ninitdb: removing\n",
                Some("invalid locale name \"x\""),
            ),
        ];
        for (text, expected) in table {
            assert_eq!(reason_in(text).as_deref(), expected, "{text:?}");
        }
    }
}
