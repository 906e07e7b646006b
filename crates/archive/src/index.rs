//! The index beside an archive: where its blocks are, and which entry starts where.
//!
//! Format, version 1: a magic line; frames of deflated records, each with its lengths and a CRC-32;
//! an empty frame; a trailer of fixed size with the totals, the SHA-256 of the archive and the
//! SHA-256 of all index bytes before it. Records are in the order of the archive: a block, then the
//! entries that start in it. Numbers are LEB128. A path states how many bytes it shares with the
//! path before it.
//!
//! The index only saves time. An archive is complete without it, and a damaged index is not used.

mod check;
mod frames;
mod read;
mod write;

pub use check::{CheckedIndex, check_index};
pub(crate) use frames::StreamFrames;
pub(crate) use read::{BlockLocation, IndexReader, Record, RecordReader};
pub(crate) use write::{EntryRecords, IndexWriter, SourceFile};

/// The first bytes of an index; the last one is the version.
pub(crate) const MAGIC: &[u8; 16] = b"holdfast-index\n\x01";
/// The type byte of a block record.
pub(crate) const BLOCK_RECORD: u8 = 1;
/// The type byte of an entry record.
pub(crate) const ENTRY_RECORD: u8 = 2;
/// The length of a SHA-256.
pub(crate) const HASH_BYTES: usize = 32;
/// The length of the trailer: six totals and two hashes.
pub(crate) const TRAILER_BYTES: usize = 6 * 8 + 2 * HASH_BYTES;
/// The most bytes of records in a frame before compression.
pub(crate) const FRAME_BYTES_MAX: usize = 16 << 20;

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
