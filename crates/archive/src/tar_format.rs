//! The tar format: writes PAX archives; reads ustar, PAX and GNU archives.
//!
//! The `tar` crate encodes and decodes the 512-byte header blocks. PAX records, sparse maps and the
//! reader are implemented here: the reader of that crate knows neither PAX 1.0 sparse files nor PAX
//! times, and it reads an extended header of any size into memory.

mod decode;
mod encode;
mod extension;
mod pax;
mod reader;
mod sparse;

pub(crate) use decode::is_header;
pub(crate) use encode::encode_header;
pub(crate) use reader::{TarReader, read_error};
pub(crate) use sparse::encode_sparse_map;

use crate::acl::Acls;

/// Bytes of a tar block. Headers and file contents are padded to whole blocks.
pub(crate) const TAR_BLOCK: usize = 512;

/// The most segments in the map of a sparse file.
const MAX_SEGMENTS: usize = 1 << 20;

/// The kind of an archive entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symlink.
    Symlink,
    /// Another name of a file that is stored earlier in the archive.
    HardLink,
}

/// A file time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Time {
    /// Seconds since 1970.
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

/// A range of a sparse file that holds data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// Names and values of extended attributes.
pub(crate) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// One entry of an archive, without its contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TarEntry {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: EntryKind,
    /// The target of a symlink, unchanged, or the path that a hard link names.
    pub(crate) link: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) mtime: Time,
    /// Size of the file, holes included.
    pub(crate) size: u64,
    /// Bytes that follow the header, without padding.
    pub(crate) stored: u64,
    /// The data ranges of a sparse file; `None` for other files.
    pub(crate) segments: Option<Vec<Segment>>,
    pub(crate) acls: Acls,
    pub(crate) xattrs: Xattrs,
}

/// Returns the number of padding bytes after `length` bytes.
pub(crate) fn padding(length: u64) -> usize {
    const UNIT: u64 = TAR_BLOCK as u64;
    ((UNIT - length % UNIT) % UNIT) as usize
}
