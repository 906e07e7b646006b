//! Writes an index while its archive is made, with the memory of one frame.

use std::io::{self, Write};

use flate2::{Compress, Compression, FlushCompress};
use sha2::{Digest, Sha256};

use super::frames::FRAME_HEADER_BYTES;
use super::{
    BLOCK_RECORD, BlockReuse, CreatedWith, ENTRY_RECORD, FILLER_RECORD, IndexTotals, IndexVersion,
};
use crate::list::ListedEntry;
use crate::tar_format::{EntryKind, TarEntry, Time};

/// Bytes of records that are collected before a frame is written.
const FRAME_BYTES: usize = 64 << 10;

/// Encodes entry records, in the order of the archive.
#[derive(Default)]
pub(crate) struct EntryRecords {
    previous: Vec<u8>,
}

impl EntryRecords {
    /// Appends the record of an entry whose header starts at `offset` of its block.
    pub(crate) fn add(
        &mut self,
        entry: &TarEntry,
        offset: usize,
        source: &SourceFile,
        out: &mut Vec<u8>,
    ) {
        let fields = EntryFields {
            path: &entry.path,
            kind: entry.kind,
            link: &entry.link,
            sparse: entry.segments.is_some(),
            numbers: [
                entry.size,
                entry.stored,
                u64::from(entry.mode),
                entry.uid,
                entry.gid,
                source.device,
                source.inode,
            ],
            mtime: entry.mtime,
            ctime: source.ctime,
        };
        self.add_fields(&fields, offset, out);
    }

    /// Appends the record of an entry that is taken over from another archive.
    pub(crate) fn add_listed(&mut self, entry: &ListedEntry, offset: usize, out: &mut Vec<u8>) {
        let time = |(seconds, nanoseconds)| Time {
            seconds,
            nanoseconds,
        };
        let fields = EntryFields {
            path: &entry.path,
            kind: entry.kind,
            link: &entry.link,
            sparse: entry.sparse,
            numbers: [
                entry.size,
                entry.stored,
                u64::from(entry.mode),
                entry.uid,
                entry.gid,
                entry.device,
                entry.inode,
            ],
            mtime: time(entry.mtime),
            ctime: time(entry.ctime),
        };
        self.add_fields(&fields, offset, out);
    }

    fn add_fields(&mut self, entry: &EntryFields<'_>, offset: usize, out: &mut Vec<u8>) {
        let shared = self
            .previous
            .iter()
            .zip(entry.path)
            .take_while(|(a, b)| a == b)
            .count();
        out.push(ENTRY_RECORD);
        out.push(match entry.kind {
            EntryKind::File if entry.sparse => 4,
            EntryKind::File => 0,
            EntryKind::Directory => 1,
            EntryKind::Symlink => 2,
            EntryKind::HardLink => 3,
        });
        number(out, shared as u64);
        bytes(out, &entry.path[shared..]);
        bytes(out, entry.link);
        number(out, offset as u64);
        for value in entry.numbers {
            number(out, value);
        }
        time(out, entry.mtime);
        time(out, entry.ctime);
        self.previous.truncate(shared);
        self.previous.extend_from_slice(&entry.path[shared..]);
    }
}

/// What a record states of an entry.
struct EntryFields<'a> {
    path: &'a [u8],
    kind: EntryKind,
    link: &'a [u8],
    sparse: bool,
    /// Size, stored bytes, mode, owner, group, device and inode.
    numbers: [u64; 7],
    mtime: Time,
    ctime: Time,
}

/// Identifies the source of an entry, so that a later backup can recognise it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SourceFile {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) ctime: Time,
}

/// Writes an index.
pub(crate) struct IndexWriter<W> {
    output: W,
    hash: Sha256,
    frame: Vec<u8>,
    deflate: Compress,
    packed: Vec<u8>,
}

impl<W: Write> IndexWriter<W> {
    pub(crate) fn new(output: W) -> io::Result<Self> {
        let deflate = Compress::new(Compression::new(4), false);
        let (frame, packed) = (Vec::with_capacity(2 * FRAME_BYTES), Vec::new());
        let mut writer = Self {
            output,
            hash: Sha256::new(),
            frame,
            deflate,
            packed,
        };
        writer.write(&IndexVersion::Two.magic())?;
        Ok(writer)
    }

    /// Adds a block and the records of the entries that start in it. `raw` and `packed` are its
    /// bytes before and after compression, `crc` is the CRC-32 of the former.
    pub(crate) fn block(
        &mut self,
        raw: usize,
        packed: usize,
        crc: u32,
        reuse: &BlockReuse,
        entries: &[u8],
    ) -> io::Result<()> {
        self.frame.push(BLOCK_RECORD);
        number(&mut self.frame, packed as u64);
        number(&mut self.frame, raw as u64);
        self.frame.extend_from_slice(&crc.to_le_bytes());
        self.frame
            .extend_from_slice(&reuse.packed_crc.to_le_bytes());
        self.frame.extend_from_slice(&reuse.sha256_state);
        self.frame.extend_from_slice(&reuse.content);
        self.frame.extend_from_slice(entries);
        if self.frame.len() >= FRAME_BYTES {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Adds filler before the next block.
    pub(crate) fn filler(&mut self, length: u64) {
        self.frame.push(FILLER_RECORD);
        number(&mut self.frame, length);
    }

    /// Writes the last frame, the end mark and the trailer.
    pub(crate) fn finish(
        mut self,
        totals: &IndexTotals,
        created_with: CreatedWith,
        archive: &[u8; 32],
    ) -> io::Result<()> {
        if !self.frame.is_empty() {
            self.flush()?;
        }
        self.write(&[0; FRAME_HEADER_BYTES])?;
        let mut trailer = Vec::new();
        for field in totals.fields().into_iter().chain(created_with.fields()) {
            trailer.extend_from_slice(&field.to_le_bytes());
        }
        trailer.extend_from_slice(archive);
        self.write(&trailer)?;
        let hash = self.hash.finalize_reset();
        self.output.write_all(&hash)?;
        self.output.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.deflate.reset();
        self.packed.clear();
        self.packed
            .reserve(self.frame.len() + self.frame.len() / 8 + 256);
        self.deflate
            .compress_vec(&self.frame, &mut self.packed, FlushCompress::Finish)
            .map_err(io::Error::other)?;
        if self.deflate.total_in() != self.frame.len() as u64 {
            return Err(io::Error::other(
                "deflate did not take all bytes of the index",
            ));
        }
        let mut header = [0; FRAME_HEADER_BYTES];
        let length = |length: usize| u32::try_from(length).map_err(io::Error::other);
        header[..4].copy_from_slice(&length(self.frame.len())?.to_le_bytes());
        header[4..8].copy_from_slice(&length(self.packed.len())?.to_le_bytes());
        header[8..].copy_from_slice(&crc32fast::hash(&self.packed).to_le_bytes());
        self.write(&header)?;
        let packed = std::mem::take(&mut self.packed);
        self.write(&packed)?;
        self.packed = packed;
        self.frame.clear();
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.output.write_all(bytes)
    }
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn time(out: &mut Vec<u8>, time: Time) {
    // Zigzag encoding, so that small negative numbers are short too.
    number(
        out,
        (time.seconds.wrapping_shl(1) ^ (time.seconds >> 63)).cast_unsigned(),
    );
    number(out, u64::from(time.nanoseconds));
}
