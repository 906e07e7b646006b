//! Where the frames of an index come from: a file, or bytes that come one after the other.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use flate2::{Decompress, FlushDecompress, Status};

use super::{LARGEST_FRAME, MAGIC, TRAILER};
use crate::Error;
use crate::digest::Sha256;

/// Bytes before a frame: two lengths and a CRC-32.
pub(crate) const FRAME_HEAD: usize = 12;

/// Hands out frames in their order.
pub(crate) trait Frames {
    /// Puts the records of the next frame in the place of the last one's; says no at the end.
    fn next(&mut self, frame: &mut Vec<u8>) -> Result<bool, Error>;
}

/// The frames of a file, up to where they are known to end.
pub(crate) struct FileFrames<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl<'a> FileFrames<'a> {
    pub(crate) fn new(file: &'a File, end: u64) -> Self {
        let at = MAGIC.len() as u64;
        Self { file, at, end }
    }
}

impl Frames for FileFrames<'_> {
    fn next(&mut self, frame: &mut Vec<u8>) -> Result<bool, Error> {
        frame.clear();
        if self.at == self.end {
            return Ok(false);
        }
        let mut head = [0; FRAME_HEAD];
        self.file
            .read_exact_at(&mut head, self.at)
            .map_err(read_failed)?;
        self.at += FRAME_HEAD as u64;
        let left = self.end - self.at.min(self.end);
        let head = Head::read(&head, left)?;
        let mut packed = vec![0; head.packed];
        self.file
            .read_exact_at(&mut packed, self.at)
            .map_err(read_failed)?;
        self.at += packed.len() as u64;
        head.unpack(&packed, frame)?;
        Ok(true)
    }
}

/// The frames of an index that is read from its first byte on. Each is checked before it is handed out; the
/// checksum of the whole is, before the end is.
pub(crate) struct StreamFrames<R> {
    input: R,
    /// None after the end.
    hash: Option<Sha256>,
}

impl<R: Read> StreamFrames<R> {
    pub(crate) fn open(input: R) -> Result<Self, Error> {
        let mut frames = Self {
            input,
            hash: Some(Sha256::new()),
        };
        let mut magic = [0; MAGIC.len()];
        frames.take(&mut magic)?;
        if magic != *MAGIC {
            return Err(bad("it is no index of a version that is known"));
        }
        Ok(frames)
    }

    /// Reads bytes that are a part of what the checksum is of.
    fn take(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.read(bytes)?;
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
        Ok(())
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.input
            .read_exact(bytes)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => bad("it is too short"),
                _ => read_failed(error),
            })
    }

    fn end(&mut self) -> Result<(), Error> {
        let mut trailer = [0; TRAILER - 32];
        self.take(&mut trailer)?;
        let mut said = [0; 32];
        self.read(&mut said)?;
        let found = self.hash.take().map(Sha256::finish);
        if found != Some(said) {
            return Err(bad("its checksum is wrong"));
        }
        Ok(())
    }
}

impl<R: Read> Frames for StreamFrames<R> {
    fn next(&mut self, frame: &mut Vec<u8>) -> Result<bool, Error> {
        frame.clear();
        if self.hash.is_none() {
            return Ok(false);
        }
        let mut head = [0; FRAME_HEAD];
        self.take(&mut head)?;
        if head == [0; FRAME_HEAD] {
            self.end()?;
            return Ok(false);
        }
        let head = Head::read(&head, 2 * LARGEST_FRAME as u64)?;
        let mut packed = vec![0; head.packed];
        self.take(&mut packed)?;
        head.unpack(&packed, frame)?;
        Ok(true)
    }
}

/// What stands before a frame.
struct Head {
    raw: usize,
    packed: usize,
    crc: u32,
}

impl Head {
    /// Reads it, of a frame that can't take more than `most` bytes.
    fn read(head: &[u8; FRAME_HEAD], most: u64) -> Result<Self, Error> {
        let word =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (raw, packed) = (word(0) as usize, word(4) as usize);
        if raw == 0 || raw > LARGEST_FRAME || most < packed as u64 {
            return Err(bad("a frame's lengths are out of range"));
        }
        let crc = word(8);
        Ok(Self { raw, packed, crc })
    }

    fn unpack(&self, packed: &[u8], frame: &mut Vec<u8>) -> Result<(), Error> {
        if crc32fast::hash(packed) != self.crc {
            return Err(bad("a frame's checksum is wrong"));
        }
        frame.reserve_exact(self.raw);
        let status = Decompress::new(false)
            .decompress_vec(packed, frame, FlushDecompress::Finish)
            .map_err(|_| bad("a frame cannot be unpacked"))?;
        if status != Status::StreamEnd || frame.len() != self.raw {
            return Err(bad("a frame has another length than it says"));
        }
        Ok(())
    }
}

pub(crate) fn bad(reason: &str) -> Error {
    Error::corrupt(format!("its index is damaged: {reason}"))
}

pub(crate) fn read_failed(error: io::Error) -> Error {
    Error::io("read", std::path::Path::new("the index"), error)
}
