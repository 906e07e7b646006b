//! What is in an archive.

use std::fs::File;
use std::io::Read;

use crate::gunzip::Front;
use crate::index::{IndexReader, Record, Records, StreamFrames};
use crate::tar_format::{Entry, Kind, TapeReader};
use crate::{Control, Error};

/// What kind of thing an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symlink.
    Symlink,
    /// A further name of a file that stands earlier in the archive.
    HardLink,
}

/// One entry of an archive, as [`list`] shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedEntry {
    /// Its path below the root, raw bytes without a trailing slash.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Target of a symlink, or the path that a hard link names.
    pub link: Vec<u8>,
    /// Bytes of the file, holes included.
    pub size: u64,
    /// Bytes that the archive stores for it, before compression.
    pub stored: u64,
    /// Whether it is stored with holes.
    pub sparse: bool,
    /// Permission bits, the special ones included.
    pub mode: u32,
    /// Number of the owner.
    pub uid: u64,
    /// Number of the group.
    pub gid: u64,
    /// Modification time: seconds since 1970 and nanoseconds.
    pub mtime: (i64, u32),
    /// Device it lay on; 0 without an index.
    pub device: u64,
    /// Inode it had; 0 without an index.
    pub inode: u64,
    /// Time of its last change: seconds since 1970 and nanoseconds; 0 without an index.
    pub ctime: (i64, u32),
}

/// Hands every entry to `each`, in the order of the archive.
///
/// With the index it takes milliseconds; without, the whole archive is read.
///
/// # Errors
///
/// [`Error::Corrupt`] for an archive or index that is damaged, [`Error::Io`], [`Error::Cancelled`], or
/// what `each` returns.
pub fn list(
    archive: &File,
    index: Option<&File>,
    control: &Control,
    each: &mut dyn FnMut(&ListedEntry) -> Result<(), Error>,
) -> Result<(), Error> {
    if let Some(index) = index {
        let mut records = IndexReader::open(index)?.records();
        while let Some(record) = records.next()? {
            control.check()?;
            if let Record::Entry(listed, _) = record {
                each(&listed)?;
            }
        }
        return Ok(());
    }
    let mut tape = TapeReader::new(Front::new(archive, control).gunzip());
    while let Some(entry) = tape.next_entry()? {
        control.check()?;
        each(&ListedEntry::from(entry))?;
    }
    Ok(())
}

/// Hands every entry of an index that comes as a stream to `each`, in the order of the archive, until that says no.
///
/// # Errors
///
/// [`Error::Corrupt`] for what is no index, or not as it was written; [`Error::Io`] if it cannot be read; or what
/// `each` returns.
pub fn list_index(
    index: impl Read,
    each: &mut dyn FnMut(&ListedEntry) -> Result<bool, Error>,
) -> Result<(), Error> {
    let mut records = Records::new(StreamFrames::open(index)?);
    while let Some(record) = records.next()? {
        if let Record::Entry(listed, _) = record
            && !each(&listed)?
        {
            break;
        }
    }
    Ok(())
}

impl From<Entry> for ListedEntry {
    fn from(mut entry: Entry) -> Self {
        while entry.path.len() > 1 && entry.path.ends_with(b"/") {
            entry.path.pop();
        }
        Self {
            kind: match entry.kind {
                Kind::File => EntryKind::File,
                Kind::Directory => EntryKind::Directory,
                Kind::Symlink => EntryKind::Symlink,
                Kind::HardLink => EntryKind::HardLink,
            },
            sparse: entry.segments.is_some(),
            path: entry.path,
            link: entry.link,
            size: entry.size,
            stored: entry.stored,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: (entry.mtime.seconds, entry.mtime.nanoseconds),
            device: 0,
            inode: 0,
            ctime: (0, 0),
        }
    }
}
