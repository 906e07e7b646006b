//! Lists the entries of an archive.

use std::fs::File;
use std::io::Read;

use crate::gunzip::{ArchiveReader, tar_stream};
use crate::index::{IndexReader, Record, RecordReader};
use crate::tar_format::{EntryKind, TarEntry, TarReader};
use crate::verify::archive_size;
use crate::{Control, Error};

/// One entry of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedEntry {
    /// Its path below the root, raw bytes without a trailing slash.
    pub path: Vec<u8>,
    /// File, folder or link.
    pub kind: EntryKind,
    /// The target of a symlink, or the path that a hard link names.
    pub link: Vec<u8>,
    /// Bytes of the file, holes included.
    pub size: u64,
    /// Bytes that the archive stores for it, before compression.
    pub stored: u64,
    /// Whether it is stored as a sparse file.
    pub sparse: bool,
    /// Permission bits, the special ones included.
    pub mode: u32,
    /// User ID of the owner.
    pub uid: u64,
    /// Group ID.
    pub gid: u64,
    /// Modification time: seconds since 1970 and nanoseconds.
    pub mtime: (i64, u32),
    /// The device that it was read from; 0 without an index.
    pub device: u64,
    /// Its inode there; 0 without an index.
    pub inode: u64,
    /// Status change time: seconds since 1970 and nanoseconds; 0 without an index.
    pub ctime: (i64, u32),
}

/// Calls `each` for every entry, in the order of the archive.
///
/// With the index, this takes milliseconds. Without it, the whole archive is read.
///
/// # Errors
///
/// [`Error::Corrupt`] if the archive or the index is damaged, [`Error::Io`], [`Error::Cancelled`],
/// or the error of `each`.
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
    let reader = ArchiveReader::new(archive, archive_size(archive)?, control);
    let mut tar = TarReader::new(tar_stream(reader));
    while let Some(entry) = tar.next_entry()? {
        control.check()?;
        each(&ListedEntry::from(entry))?;
    }
    Ok(())
}

/// Reads an index as a stream, and calls `each` for every entry until it returns false.
///
/// # Errors
///
/// [`Error::Corrupt`] if the index is damaged; [`Error::Io`] if it cannot be read; or the error of
/// `each`.
pub fn list_index(
    index: impl Read,
    each: &mut dyn FnMut(&ListedEntry) -> Result<bool, Error>,
) -> Result<(), Error> {
    let mut records = RecordReader::open(index)?;
    while let Some(record) = records.next()? {
        if let Record::Entry(listed, _) = record
            && !each(&listed)?
        {
            break;
        }
    }
    Ok(())
}

impl From<TarEntry> for ListedEntry {
    fn from(mut entry: TarEntry) -> Self {
        while entry.path.len() > 1 && entry.path.ends_with(b"/") {
            entry.path.pop();
        }
        Self {
            kind: entry.kind,
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
