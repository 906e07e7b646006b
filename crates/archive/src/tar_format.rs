//! The tar format: entries as headers and bytes, written as POSIX (PAX) and read generously.

mod decode;
mod encode;
mod pax;
mod reader;
mod sparse;

pub(crate) use encode::encode;
pub(crate) use reader::{TapeReader, read_error};
pub(crate) use sparse::map_text;

/// The unit of a tar archive.
pub(crate) const RECORD: usize = 512;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    HardLink,
}

/// A point in time as files have it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

/// A stretch of a sparse file that holds data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// One entry of an archive, without its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    /// Target of a symlink, verbatim, or the path that a hard link names.
    pub(crate) link: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) mtime: Time,
    /// Size of the file, holes included.
    pub(crate) size: u64,
    /// Bytes that follow the header.
    pub(crate) stored: u64,
    /// Where the data of a sparse file lies; none for a plain one.
    pub(crate) segments: Option<Vec<Segment>>,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Bytes that fill the last record of `length` bytes.
pub(crate) fn padding(length: u64) -> usize {
    const UNIT: u64 = RECORD as u64;
    ((UNIT - length % UNIT) % UNIT) as usize
}
