//! What the engine reports when it is done: totals, hashes and notes.

use std::fmt;

use crate::error::lossy;

/// What a scan found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Regular files, each hard link counted.
    pub files: u64,
    /// Bytes of their contents, each hard-linked file counted once, holes included.
    pub bytes: u64,
}

/// What was archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// SHA-256 of the archive.
    pub sha256: [u8; 32],
    /// Size of the archive in bytes.
    pub archive_bytes: u64,
    /// Bytes of file contents that it holds, holes included.
    pub source_bytes: u64,
    /// Regular files, each hard link counted.
    pub files: u64,
    /// Entries of any kind.
    pub entries: u64,
    /// What could not be archived as it was found.
    pub notes: Notes,
}

/// What was skipped, cut or padded: never silence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// How many there are in all.
    pub count: u64,
    /// The first hundred.
    pub first: Vec<Note>,
}

/// One thing that is not in the archive as it was found on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The entry's path below the source, lossy.
    pub path: String,
    /// What happened to it.
    pub reason: String,
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path, self.reason)
    }
}

impl Notes {
    const KEPT: usize = 100;

    pub(crate) fn add(&mut self, path: &[u8], reason: impl Into<String>) {
        self.count += 1;
        if self.first.len() < Self::KEPT {
            self.first.push(Note {
                path: lossy(path),
                reason: reason.into(),
            });
        }
    }
}

/// What a check of an archive found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifySummary {
    /// SHA-256 of the archive.
    pub sha256: [u8; 32],
    /// Size of the archive in bytes.
    pub archive_bytes: u64,
    /// Bytes of file contents that it holds, holes included.
    pub source_bytes: u64,
    /// Regular files, each hard link counted.
    pub files: u64,
    /// Entries of any kind.
    pub entries: u64,
}

/// What was restored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreSummary {
    /// Regular files, each hard link counted.
    pub files: u64,
    /// Bytes of file contents, holes included.
    pub bytes: u64,
    /// Entries of any kind.
    pub entries: u64,
    /// What is not as the archive has it, though the restore holds (an attribute the disk does not take).
    pub notes: Notes,
}

/// What [`recover`](crate::recover) found beside a server directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovered {
    /// Nothing was left behind.
    Nothing,
    /// Another living process restores the directory: nothing was touched.
    Busy,
    /// The tree in place was whole already; leftovers were removed.
    Cleaned,
    /// An interrupted swap was carried to its end: the tree is the archive's.
    Finished,
    /// An interrupted swap was taken back: the tree is the one from before the restore.
    Undone,
}
