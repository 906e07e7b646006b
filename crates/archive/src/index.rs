//! The index beside an archive: where its blocks are, and which entry starts where.
//!
//! Format: a magic line with the version; frames of deflated records, each with its lengths and a
//! CRC-32; an empty frame; a trailer of fixed size with the totals, the SHA-256 of the archive and
//! the SHA-256 of all index bytes before it. Records are in the order of the archive: a block, then
//! the entries that start in it. Numbers are LEB128. A path states how many bytes it shares with
//! the path before it.
//!
//! Version 2 also states filler between two blocks (see `filler.rs`), and what a later backup needs
//! to reuse a block: see [`BlockReuse`] and [`CreatedWith`]. Version 1 is still read.
//!
//! The index only saves time. An archive is complete without it, and a damaged index is not used.

mod check;
mod frames;
mod read;
mod write;

use crate::CreateOptions;

pub use check::{CheckedIndex, check_index};
pub(crate) use frames::StreamFrames;
pub(crate) use read::{
    BlockLocation, BlockReuse, CONTENT_BYTES, IndexReader, Record, RecordReader, StoredRecords,
};
pub(crate) use write::{EntryRecords, IndexWriter, SourceFile};

/// The first bytes of an index. The version follows.
const MAGIC: &[u8; 15] = b"holdfast-index\n";
/// The length of the magic line, with the version.
pub(crate) const MAGIC_BYTES: usize = MAGIC.len() + 1;
/// The type byte of a block record.
pub(crate) const BLOCK_RECORD: u8 = 1;
/// The type byte of an entry record.
pub(crate) const ENTRY_RECORD: u8 = 2;
/// The type byte of a record of filler between two blocks. Only in version 2.
pub(crate) const FILLER_RECORD: u8 = 3;
/// The most bytes of filler between two blocks.
pub(crate) const FILLER_BYTES_MAX: u64 = 16 << 10;
/// The length of a SHA-256.
pub(crate) const HASH_BYTES: usize = 32;
/// The most bytes of records in a frame before compression.
pub(crate) const FRAME_BYTES_MAX: usize = 16 << 20;

/// The version of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IndexVersion {
    One = 1,
    Two = 2,
}

impl IndexVersion {
    /// Parses a magic line. Returns `None` for other files, and for versions of later programs.
    pub(crate) fn parse(line: &[u8; MAGIC_BYTES]) -> Option<Self> {
        match line.strip_prefix(MAGIC)? {
            [1] => Some(Self::One),
            [2] => Some(Self::Two),
            _ => None,
        }
    }

    /// Returns the magic line.
    pub(crate) fn magic(self) -> [u8; MAGIC_BYTES] {
        let mut line = [self as u8; MAGIC_BYTES];
        line[..MAGIC.len()].copy_from_slice(MAGIC);
        line
    }

    /// Returns the length of the trailer: totals and, from version 2 on, three numbers of
    /// [`CreatedWith`]; then two hashes.
    pub(crate) fn trailer_bytes(self) -> usize {
        let numbers = match self {
            Self::One => 6,
            Self::Two => 9,
        };
        numbers * 8 + 2 * HASH_BYTES
    }
}

/// What an archive was created with. A later backup reuses its bytes only with the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CreatedWith {
    /// The compression level, 0 to 9.
    pub(crate) level: u32,
    /// Whether extended attributes of users are stored.
    pub(crate) xattrs: bool,
    /// Whether every file could be read to its end, with its attributes. Otherwise an archive holds
    /// other contents than a file that has not changed.
    pub(crate) is_complete: bool,
    /// Entries that have changed since this second have no source in the index: they can change
    /// again without a change of their attributes. In seconds since 1970.
    pub(crate) unsettled_since: i64,
}

impl CreatedWith {
    /// The flags of the trailer.
    const XATTRS: u64 = 1;
    const COMPLETE: u64 = 2;

    /// Returns what an archive is created with.
    pub(crate) fn of(options: &CreateOptions, unsettled_since: i64) -> Self {
        Self {
            level: options.level.min(9),
            xattrs: options.xattrs,
            is_complete: true,
            unsettled_since,
        }
    }

    /// Returns whether unchanged files have the same bytes in both archives.
    pub(crate) fn is_same_format(self, other: &Self) -> bool {
        (self.level, self.xattrs) == (other.level, other.xattrs)
    }

    /// Parses the numbers of a trailer. `None` if they are out of range.
    pub(crate) fn parse(fields: &[u8]) -> Option<Self> {
        let mut numbers = fields
            .as_chunks()
            .0
            .iter()
            .map(|&bytes| u64::from_le_bytes(bytes));
        let (level, flags, since) = (numbers.next()?, numbers.next()?, numbers.next()?);
        if flags & !(Self::XATTRS | Self::COMPLETE) != 0 {
            return None;
        }
        Some(Self {
            level: u32::try_from(level).ok().filter(|&level| level <= 9)?,
            xattrs: flags & Self::XATTRS != 0,
            is_complete: flags & Self::COMPLETE != 0,
            unsettled_since: since.cast_signed(),
        })
    }

    /// Returns the numbers of the trailer.
    pub(crate) fn fields(self) -> [u64; 3] {
        [
            u64::from(self.level),
            u64::from(self.xattrs) * Self::XATTRS + u64::from(self.is_complete) * Self::COMPLETE,
            self.unsettled_since.cast_unsigned(),
        ]
    }
}

/// The totals of an archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct IndexTotals {
    pub(crate) entries: u64,
    pub(crate) files: u64,
    /// Bytes of file contents, holes included.
    pub(crate) source_bytes: u64,
    /// Bytes that the entries take on a disk, in whole pages.
    pub(crate) disk_bytes: u64,
    /// Bytes of the tar stream.
    pub(crate) tar_bytes: u64,
    pub(crate) archive_bytes: u64,
}

impl IndexTotals {
    /// The length of the totals in a trailer.
    pub(crate) const BYTES: usize = 6 * 8;

    /// Returns the totals in the order of the trailer.
    pub(crate) fn fields(&self) -> [u64; 6] {
        [
            self.entries,
            self.files,
            self.source_bytes,
            self.disk_bytes,
            self.tar_bytes,
            self.archive_bytes,
        ]
    }

    /// Parses the totals of a trailer.
    pub(crate) fn parse(trailer: &[u8]) -> Self {
        let mut fields = trailer.chunks_exact(8).map(|field| {
            let bytes = field.iter().rev();
            bytes.fold(0, |number, &byte| number << 8 | u64::from(byte))
        });
        let mut next = || fields.next().unwrap_or(0);
        Self {
            entries: next(),
            files: next(),
            source_bytes: next(),
            disk_bytes: next(),
            tar_bytes: next(),
            archive_bytes: next(),
        }
    }
}
