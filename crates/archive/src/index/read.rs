//! Reads an index record by record, with the memory of one frame.
//!
//! An index in a file is checked completely before its first record is used.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

use sha2::{Digest, Sha256};

use super::frames::{
    FRAME_HEADER_BYTES, FileFrames, Frames, StreamFrames, damaged, read_failed, unknown,
};
use super::{
    BLOCK_RECORD, CreatedWith, ENTRY_RECORD, FILLER_BYTES_MAX, FILLER_RECORD, HASH_BYTES,
    IndexTotals, IndexVersion, MAGIC_BYTES,
};
use crate::Error;
use crate::compress::GZIP_HEADER;
use crate::list::ListedEntry;
use crate::tar_format::EntryKind;

/// The most bytes of the tar stream that a block may hold.
const BLOCK_BYTES_MAX: u64 = 4 << 20;

/// The length of a block's content hash.
pub(crate) const CONTENT_BYTES: usize = 16;

/// An index that has passed its checks.
pub(crate) struct IndexReader<'a> {
    file: &'a File,
    version: IndexVersion,
    pub(crate) totals: IndexTotals,
    pub(crate) archive_sha256: [u8; 32],
    /// `None` in version 1.
    pub(crate) created_with: Option<CreatedWith>,
    /// The offset at which the frames end.
    end: u64,
}

/// The location of a block in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockLocation {
    pub(crate) offset: u64,
    /// Compressed bytes.
    pub(crate) packed: u64,
    /// Bytes of the tar stream.
    pub(crate) raw: u64,
    /// CRC-32 of the tar stream's bytes.
    pub(crate) crc: u32,
    /// `None` in an index of version 1.
    pub(crate) reuse: Option<BlockReuse>,
}

/// What a later backup needs to reuse a block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct BlockReuse {
    /// CRC-32 of the compressed bytes.
    pub(crate) packed_crc: u32,
    /// The state of the archive's SHA-256 after the last 64 bytes that end in or before the block.
    pub(crate) sha256_state: [u8; 32],
    /// The first 16 bytes of the BLAKE3 of the tar stream's bytes.
    pub(crate) content: [u8; CONTENT_BYTES],
}

/// One record of an index.
pub(crate) enum Record {
    Block(BlockLocation),
    /// An entry, and the offset of its header in the latest block.
    Entry(ListedEntry, u64),
}

impl<'a> IndexReader<'a> {
    /// Checks an index from its first byte to its last.
    pub(crate) fn open(file: &'a File) -> Result<Self, Error> {
        let length = file.metadata().map_err(read_failed)?.len();
        let mut magic = [0; MAGIC_BYTES];
        if length < MAGIC_BYTES as u64 {
            return Err(damaged("it is too short"));
        }
        file.read_exact_at(&mut magic, 0).map_err(read_failed)?;
        let version = IndexVersion::parse(&magic).ok_or_else(unknown)?;
        let tail_bytes = FRAME_HEADER_BYTES + version.trailer_bytes();
        if length < (MAGIC_BYTES + tail_bytes) as u64 {
            return Err(damaged("it is too short"));
        }
        let end = length - tail_bytes as u64;
        let hash = hash_file(file, length - HASH_BYTES as u64)?;
        let mut tail = vec![0; tail_bytes];
        file.read_exact_at(&mut tail, end).map_err(read_failed)?;
        let (end_mark, trailer) = tail.split_at(FRAME_HEADER_BYTES);
        let (totals, hashes) = trailer.split_at(version.trailer_bytes() - 2 * HASH_BYTES);
        let (archive_hash, index_hash) = hashes.split_at(HASH_BYTES);
        let created_with = totals.get(IndexTotals::BYTES..);
        if end_mark.iter().any(|&byte| byte != 0) || *index_hash != hash {
            return Err(damaged("its checksum is wrong"));
        }
        let mut archive_sha256 = [0; HASH_BYTES];
        archive_sha256.copy_from_slice(archive_hash);
        Ok(Self {
            file,
            version,
            totals: IndexTotals::parse(totals),
            archive_sha256,
            created_with: created_with.and_then(CreatedWith::parse),
            end,
        })
    }

    /// Returns a reader of all records.
    pub(crate) fn records(&self) -> StoredRecords<'a> {
        RecordReader::new(FileFrames::new(self.file, self.end), self.version)
    }
}

/// Returns the SHA-256 of the first `length` bytes.
fn hash_file(file: &File, length: u64) -> Result<[u8; HASH_BYTES], Error> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    let mut at = 0;
    while at < length {
        let part = usize::try_from(length - at)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        file.read_exact_at(&mut buffer[..part], at)
            .map_err(read_failed)?;
        hash.update(&buffer[..part]);
        at += part as u64;
    }
    Ok(hash.finalize().into())
}

/// The records of an index that has passed its checks.
pub(crate) type StoredRecords<'a> = RecordReader<FileFrames<'a>>;

/// Reads the records of an index, in the order of the archive.
pub(crate) struct RecordReader<F> {
    frames: F,
    version: IndexVersion,
    frame: Vec<u8>,
    used: usize,
    /// The offset of the next block in the archive.
    offset: u64,
    /// The path of the latest entry.
    path: Vec<u8>,
}

impl<R: Read> RecordReader<StreamFrames<R>> {
    /// Begins to read an index as a stream.
    pub(crate) fn open(index: R) -> Result<Self, Error> {
        let frames = StreamFrames::open(index)?;
        let version = frames.version;
        Ok(Self::new(frames, version))
    }
}

impl<F: Frames> RecordReader<F> {
    /// Creates a reader; `frames` must be at the first frame.
    fn new(frames: F, version: IndexVersion) -> Self {
        Self {
            frames,
            version,
            frame: Vec::new(),
            used: 0,
            offset: GZIP_HEADER.len() as u64,
            path: Vec::new(),
        }
    }

    /// Returns the next record, or `None` at the end. Filler only moves the offset of the next
    /// block.
    pub(crate) fn next(&mut self) -> Result<Option<Record>, Error> {
        loop {
            if self.used == self.frame.len() {
                self.used = 0;
                if !self.frames.next(&mut self.frame)? {
                    return Ok(None);
                }
            }
            return match self.byte()? {
                BLOCK_RECORD => self.block().map(Some),
                ENTRY_RECORD => self.entry().map(Some),
                FILLER_RECORD if self.version == IndexVersion::Two => {
                    let length = self.number()?;
                    if length > FILLER_BYTES_MAX {
                        return Err(damaged("filler is too long"));
                    }
                    self.offset += length;
                    continue;
                }
                _ => Err(damaged("a record is of an unknown kind")),
            };
        }
    }

    /// Returns the next record that is a block, or `None` at the end.
    pub(crate) fn next_block(&mut self) -> Result<Option<BlockLocation>, Error> {
        while let Some(record) = self.next()? {
            if let Record::Block(location) = record {
                return Ok(Some(location));
            }
        }
        Ok(None)
    }

    fn block(&mut self) -> Result<Record, Error> {
        let (packed, raw) = (self.number()?, self.number()?);
        let crc = u32::from_le_bytes(self.array()?);
        let reuse = match self.version {
            IndexVersion::One => None,
            IndexVersion::Two => Some(BlockReuse {
                packed_crc: u32::from_le_bytes(self.array()?),
                sha256_state: self.array()?,
                content: self.array()?,
            }),
        };
        if raw == 0 || raw > BLOCK_BYTES_MAX || packed > 2 * BLOCK_BYTES_MAX {
            return Err(damaged("a block's lengths are out of range"));
        }
        let location = BlockLocation {
            offset: self.offset,
            packed,
            raw,
            crc,
            reuse,
        };
        self.offset += packed;
        Ok(Record::Block(location))
    }

    fn entry(&mut self) -> Result<Record, Error> {
        let (kind, sparse) = match self.byte()? {
            0 => (EntryKind::File, false),
            1 => (EntryKind::Directory, false),
            2 => (EntryKind::Symlink, false),
            3 => (EntryKind::HardLink, false),
            4 => (EntryKind::File, true),
            _ => return Err(damaged("an entry is of an unknown kind")),
        };
        let shared = self.number()?;
        let shared = usize::try_from(shared)
            .ok()
            .filter(|&shared| shared <= self.path.len());
        self.path
            .truncate(shared.ok_or_else(|| damaged("a path is malformed"))?);
        let rest = self.text()?;
        self.path.extend_from_slice(&rest);
        let link = self.text()?;
        let offset = self.number()?;
        let (size, stored) = (self.number()?, self.number()?);
        let mode = u32::try_from(self.number()?).map_err(|_| damaged("a mode is out of range"))?;
        let (uid, gid) = (self.number()?, self.number()?);
        let (device, inode) = (self.number()?, self.number()?);
        let (mtime, ctime) = (self.time()?, self.time()?);
        let entry = ListedEntry {
            path: self.path.clone(),
            kind,
            link,
            size,
            stored,
            sparse,
            mode,
            uid,
            gid,
            mtime,
            device,
            inode,
            ctime,
        };
        Ok(Record::Entry(entry, offset))
    }

    fn time(&mut self) -> Result<(i64, u32), Error> {
        let number = self.number()?;
        let seconds = (number >> 1).cast_signed() ^ -((number & 1).cast_signed());
        let nanoseconds =
            u32::try_from(self.number()?).map_err(|_| damaged("a time is out of range"))?;
        Ok((seconds, nanoseconds))
    }

    fn text(&mut self) -> Result<Vec<u8>, Error> {
        let length = usize::try_from(self.number()?).map_err(|_| damaged("a name is too long"))?;
        self.take(length).map(<[u8]>::to_vec)
    }

    fn byte(&mut self) -> Result<u8, Error> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u64, Error> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(damaged("a number is too long"))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    fn take(&mut self, length: usize) -> Result<&[u8], Error> {
        let rest = &self.frame[self.used..];
        let taken = rest
            .get(..length)
            .ok_or_else(|| damaged("a record ends too early"))?;
        self.used += length;
        Ok(taken)
    }
}
