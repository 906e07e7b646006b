//! The index beside an archive: where its blocks lie and which entry starts where.
//!
//! Shape (version 1): a magic line; frames of deflated records, each with its lengths and a CRC-32; an
//! empty frame; a trailer of fixed size with the totals, the archive's SHA-256 and the SHA-256 of all
//! index bytes before it. Records come in the order of the archive: a block, then the entries that
//! start in it. Numbers are LEB128; a path says how much it shares with the one before.
//! An index is only ever a shortcut: an archive is whole without it, and one that fails its checks is
//! not used.

mod check;
mod frames;
mod read;
mod write;

pub use check::{CheckedIndex, check_index};
pub(crate) use frames::{Frames, StreamFrames};
pub(crate) use read::{BlockPlace, IndexReader, Record, Records};
pub(crate) use write::{EntryRecords, IndexWriter, Origin};

/// First bytes of an index; the last one is the version.
pub(crate) const MAGIC: &[u8; 16] = b"holdfast-index\n\x01";
/// Record of a block.
pub(crate) const BLOCK_RECORD: u8 = 1;
/// Record of an entry.
pub(crate) const ENTRY_RECORD: u8 = 2;
/// Bytes of the trailer: six totals and two hashes.
pub(crate) const TRAILER: usize = 6 * 8 + 2 * 32;
/// The most bytes of records in a frame before compression.
pub(crate) const LARGEST_FRAME: usize = 16 << 20;

/// What an index says of the whole archive.
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
}
