//! The file that Postgres writes to, and the few words of it that belong into an error.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use crate::Error;

/// A log of more bytes than this is put aside at the next start.
const LARGE: u64 = 10 * 1024 * 1024;

/// How much of the end of a log is looked at.
const TAIL: u64 = 64 * 1024;

/// A log file, and where this run began in it.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) path: PathBuf,
    start: u64,
}

impl Log {
    /// Takes the log of a cluster; a large one becomes `postgres.log.1` and a new one begins.
    ///
    /// # Errors
    /// When the large one cannot be renamed.
    pub(crate) fn begin(directory: &Path) -> Result<Self, Error> {
        let path = directory.join("postgres.log");
        let mut start = fs_err::symlink_metadata(&path).map_or(0, |metadata| metadata.len());
        if start > LARGE {
            fs_err::rename(&path, directory.join("postgres.log.1"))?;
            start = 0;
        }
        Ok(Self { path, start })
    }

    /// Counts only what is written from now on as part of this run.
    pub(crate) fn mark(&mut self) {
        self.start = fs_err::symlink_metadata(&self.path).map_or(0, |metadata| metadata.len());
    }

    /// Quotes, on one line, what explains best why this run failed.
    pub(crate) fn reason(&self) -> String {
        let text = self.tail().unwrap_or_default();
        reason_in(&text).unwrap_or_else(|| format!("it wrote nothing to {}", self.path.display()))
    }

    fn tail(&self) -> std::io::Result<String> {
        let mut file = fs_err::File::open(&self.path)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(self.start.max(end.saturating_sub(TAIL))))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Finds the last fatal line with its details; without one, the last line at all.
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
                "2026-01-01 10:00:00 UTC [1] FATAL:  lock file exists\n2026-01-01 [1] HINT:  Is it running?\n2026 [1] LOG:  bye\n",
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
