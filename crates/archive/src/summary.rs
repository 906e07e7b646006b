//! The results of operations: totals, hashes and notes.

use std::fmt;
use std::path::PathBuf;

use crate::error::lossy;

/// The result of [`scan`](crate::scan()).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Regular files, each hard link counted.
    pub files: u64,
    /// Bytes of their contents, holes included. A file with several hard links is counted once.
    pub bytes: u64,
}

/// The result of [`create`](crate::create()).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// SHA-256 of the archive.
    pub sha256: [u8; 32],
    /// Size of the archive in bytes.
    pub archive_bytes: u64,
    /// How many of these the previous archive has, too.
    pub reused_bytes: u64,
    /// Bytes of file contents, holes included.
    pub source_bytes: u64,
    /// How many of these were read, without holes. The others are those of the previous archive.
    pub read_bytes: u64,
    /// Regular files, each hard link counted.
    pub files: u64,
    /// Entries of any kind.
    pub entries: u64,
    /// How many of these are those of the previous archive, so that their files were not read.
    pub unread_entries: u64,
    /// Entries that could not be archived as they were.
    pub notes: Notes,
}

/// Entries that were skipped, cut, padded or restored without some attribute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// The number of all notes.
    pub count: u64,
    /// The first hundred notes.
    pub first: Vec<Note>,
}

/// An entry that was not archived or restored as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The path below the source, with invalid UTF-8 replaced.
    pub path: String,
    /// What happened to the entry.
    pub reason: String,
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path, self.reason)
    }
}

impl Notes {
    /// The most notes that are stored.
    const MAX_STORED: usize = 100;

    /// Adds all notes of another operation.
    pub(crate) fn append(&mut self, other: Self) {
        self.count += other.count;
        let room = Self::MAX_STORED.saturating_sub(self.first.len());
        self.first.extend(other.first.into_iter().take(room));
    }

    /// Counts a note, and stores it if there is room.
    pub(crate) fn add(&mut self, path: &[u8], reason: impl Into<String>) {
        self.count += 1;
        if self.first.len() < Self::MAX_STORED {
            self.first.push(Note {
                path: lossy(path),
                reason: reason.into(),
            });
        }
    }
}

/// The result of [`verify`](crate::verify()).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifySummary {
    /// SHA-256 of the archive.
    pub sha256: [u8; 32],
    /// Size of the archive in bytes.
    pub archive_bytes: u64,
    /// Bytes of file contents, holes included.
    pub source_bytes: u64,
    /// Regular files, each hard link counted.
    pub files: u64,
    /// Entries of any kind.
    pub entries: u64,
}

/// The result of [`restore`](crate::restore()).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreSummary {
    /// Regular files, each hard link counted.
    pub files: u64,
    /// Bytes of file contents, holes included.
    pub bytes: u64,
    /// Entries of any kind.
    pub entries: u64,
    /// Problems that did not stop the restore, such as old files that could not be removed.
    pub notes: Notes,
}

/// The result of [`recover`](crate::recover).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovered {
    /// Nothing was left behind.
    Nothing,
    /// Another process is restoring the directory. Nothing was changed.
    Busy,
    /// The tree in place was complete. Leftovers were removed.
    Cleaned,
    /// An interrupted swap was finished. The tree is that of the archive.
    Finished,
    /// An interrupted swap was undone. The tree is the one before the restore.
    Undone,
    /// The tree in place is complete, but files of an old tree could not be removed.
    Kept {
        /// The folder that holds them.
        path: PathBuf,
        /// How many there are, and what forbids to remove the first one.
        remains: String,
    },
}
