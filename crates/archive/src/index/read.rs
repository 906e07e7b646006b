//! Reads an index record by record, with the memory of one frame; one that is a file is checked as a whole first.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::frames::{FRAME_HEAD, FileFrames, Frames, bad, read_failed};
use super::{BLOCK_RECORD, ENTRY_RECORD, IndexTotals, MAGIC, TRAILER};
use crate::Error;
use crate::compress::GZIP_HEADER;
use crate::digest::Sha256;
use crate::list::{EntryKind, ListedEntry};

/// The most bytes of the tar stream in a block that is taken.
const LARGEST_BLOCK: u64 = 4 << 20;

/// An index that has passed its checks.
pub(crate) struct IndexReader<'a> {
    file: &'a File,
    pub(crate) totals: IndexTotals,
    pub(crate) archive_sha256: [u8; 32],
    /// Where the frames end.
    end: u64,
}

/// Where a block lies in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockPlace {
    pub(crate) offset: u64,
    pub(crate) packed: u64,
    pub(crate) raw: u64,
    pub(crate) crc: u32,
}

/// One record of an index.
pub(crate) enum Record {
    Block(BlockPlace),
    /// An entry, and where in the latest block its header starts.
    Entry(ListedEntry, u64),
}

impl<'a> IndexReader<'a> {
    /// Checks an index from its first byte to its last.
    pub(crate) fn open(file: &'a File) -> Result<Self, Error> {
        let length = file.metadata().map_err(read_failed)?.len();
        let least = (MAGIC.len() + FRAME_HEAD + TRAILER) as u64;
        let Some(end) = length
            .checked_sub((FRAME_HEAD + TRAILER) as u64)
            .filter(|_| length >= least)
        else {
            return Err(bad("it is too short"));
        };
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 256 << 10];
        let hashed = length - 32;
        let mut at = 0;
        while at < hashed {
            let want = usize::try_from(hashed - at)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            file.read_exact_at(&mut buffer[..want], at)
                .map_err(read_failed)?;
            if at == 0 && !buffer.starts_with(MAGIC) {
                return Err(bad("it is no index of a version that is known"));
            }
            hash.update(&buffer[..want]);
            at += want as u64;
        }
        let mut tail = [0; FRAME_HEAD + TRAILER];
        file.read_exact_at(&mut tail, end).map_err(read_failed)?;
        let (mark, trailer) = tail.split_at(FRAME_HEAD);
        let (fields, hashes) = trailer.split_at(TRAILER - 64);
        if mark.iter().any(|&byte| byte != 0) || hashes[32..] != hash.finish() {
            return Err(bad("its checksum is wrong"));
        }
        let mut archive_sha256 = [0; 32];
        archive_sha256.copy_from_slice(&hashes[..32]);
        let mut fields = fields.chunks_exact(8).map(|field| {
            field
                .iter()
                .rev()
                .fold(0, |number, &byte| number << 8 | u64::from(byte))
        });
        let mut next = || fields.next().unwrap_or(0);
        let totals = IndexTotals {
            entries: next(),
            files: next(),
            source_bytes: next(),
            disk_bytes: next(),
            tar_bytes: next(),
            archive_bytes: next(),
        };
        Ok(Self {
            file,
            totals,
            archive_sha256,
            end,
        })
    }

    /// Reads the records from the first one on.
    pub(crate) fn records(&self) -> Records<FileFrames<'a>> {
        Records::new(FileFrames::new(self.file, self.end))
    }
}

/// The records of an index, in the order of the archive.
pub(crate) struct Records<F> {
    frames: F,
    frame: Vec<u8>,
    used: usize,
    /// Where the next block starts in the archive.
    offset: u64,
    /// The path of the latest entry.
    path: Vec<u8>,
}

impl<F: Frames> Records<F> {
    /// Reads the records of an index whose frames have not been asked for yet.
    pub(crate) fn new(frames: F) -> Self {
        Self {
            frames,
            frame: Vec::new(),
            used: 0,
            offset: GZIP_HEADER.len() as u64,
            path: Vec::new(),
        }
    }

    /// The next record; none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Record>, Error> {
        if self.used == self.frame.len() {
            self.used = 0;
            if !self.frames.next(&mut self.frame)? {
                return Ok(None);
            }
        }
        match self.byte()? {
            BLOCK_RECORD => self.block().map(Some),
            ENTRY_RECORD => self.entry().map(Some),
            _ => Err(bad("a record is of an unknown kind")),
        }
    }

    fn block(&mut self) -> Result<Record, Error> {
        let (packed, raw) = (self.number()?, self.number()?);
        let crc = self.take(4)?;
        let crc = u32::from_le_bytes([crc[0], crc[1], crc[2], crc[3]]);
        if raw == 0 || raw > LARGEST_BLOCK || packed > 2 * LARGEST_BLOCK {
            return Err(bad("a block's lengths are out of range"));
        }
        let place = BlockPlace {
            offset: self.offset,
            packed,
            raw,
            crc,
        };
        self.offset += packed;
        Ok(Record::Block(place))
    }

    fn entry(&mut self) -> Result<Record, Error> {
        let (kind, sparse) = match self.byte()? {
            0 => (EntryKind::File, false),
            1 => (EntryKind::Directory, false),
            2 => (EntryKind::Symlink, false),
            3 => (EntryKind::HardLink, false),
            4 => (EntryKind::File, true),
            _ => return Err(bad("an entry is of an unknown kind")),
        };
        let shared = self.number()?;
        let shared = usize::try_from(shared)
            .ok()
            .filter(|&shared| shared <= self.path.len());
        self.path
            .truncate(shared.ok_or_else(|| bad("a path is malformed"))?);
        let rest = self.text()?;
        self.path.extend_from_slice(&rest);
        let link = self.text()?;
        let offset = self.number()?;
        let (size, stored) = (self.number()?, self.number()?);
        let mode = u32::try_from(self.number()?).map_err(|_| bad("a mode is out of range"))?;
        let (uid, gid) = (self.number()?, self.number()?);
        let (device, inode) = (self.number()?, self.number()?);
        let (mtime, ctime) = (self.time()?, self.time()?);
        let path = self.path.clone();
        let listed = ListedEntry {
            path,
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
        Ok(Record::Entry(listed, offset))
    }

    fn time(&mut self) -> Result<(i64, u32), Error> {
        let number = self.number()?;
        let seconds = (number >> 1).cast_signed() ^ -((number & 1).cast_signed());
        let nanoseconds =
            u32::try_from(self.number()?).map_err(|_| bad("a time is out of range"))?;
        Ok((seconds, nanoseconds))
    }

    fn text(&mut self) -> Result<Vec<u8>, Error> {
        let length = usize::try_from(self.number()?).map_err(|_| bad("a name is too long"))?;
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
        Err(bad("a number is too long"))
    }

    fn take(&mut self, length: usize) -> Result<&[u8], Error> {
        let rest = &self.frame[self.used..];
        let taken = rest
            .get(..length)
            .ok_or_else(|| bad("a record ends too early"))?;
        self.used += length;
        Ok(taken)
    }
}
