//! Reads the frames of an index, from a file or from a stream.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use flate2::{Decompress, FlushDecompress, Status};
use sha2::{Digest, Sha256};

use super::{FRAME_BYTES_MAX, HASH_BYTES, IndexVersion, MAGIC_BYTES};
use crate::Error;

/// Bytes before a frame: two lengths and a CRC-32.
pub(crate) const FRAME_HEADER_BYTES: usize = 12;

/// A source of frames, in their order.
pub(crate) trait Frames {
    /// Replaces `frame` with the records of the next frame. Returns false at the end.
    fn next(&mut self, frame: &mut Vec<u8>) -> Result<bool, Error>;
}

/// The frames of a file that was checked before.
pub(crate) struct FileFrames<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl<'a> FileFrames<'a> {
    /// Reads frames up to the offset `end`.
    pub(crate) fn new(file: &'a File, end: u64) -> Self {
        let at = MAGIC_BYTES as u64;
        Self { file, at, end }
    }
}

impl Frames for FileFrames<'_> {
    fn next(&mut self, frame: &mut Vec<u8>) -> Result<bool, Error> {
        frame.clear();
        if self.at == self.end {
            return Ok(false);
        }
        let mut header = [0; FRAME_HEADER_BYTES];
        self.file
            .read_exact_at(&mut header, self.at)
            .map_err(read_failed)?;
        self.at += FRAME_HEADER_BYTES as u64;
        let left = self.end - self.at.min(self.end);
        let header = FrameHeader::parse(&header, left)?;
        let mut packed = vec![0; header.packed];
        self.file
            .read_exact_at(&mut packed, self.at)
            .map_err(read_failed)?;
        self.at += packed.len() as u64;
        header.decompress(&packed, frame)?;
        Ok(true)
    }
}

/// The frames of an index that is read as a stream.
///
/// Each frame is checked before it is returned. The checksum of the whole index is checked before
/// the end is reported.
pub(crate) struct StreamFrames<R> {
    input: R,
    pub(crate) version: IndexVersion,
    /// `None` after the end.
    hash: Option<Sha256>,
}

impl<R: Read> StreamFrames<R> {
    /// Reads the magic line.
    pub(crate) fn open(input: R) -> Result<Self, Error> {
        let mut frames = Self {
            input,
            version: IndexVersion::Two,
            hash: Some(Sha256::new()),
        };
        let mut magic = [0; MAGIC_BYTES];
        frames.read_hashed(&mut magic)?;
        frames.version = IndexVersion::parse(&magic).ok_or_else(unknown)?;
        Ok(frames)
    }

    /// Reads bytes that the checksum covers.
    fn read_hashed(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
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
                io::ErrorKind::UnexpectedEof => damaged("it is too short"),
                _ => read_failed(error),
            })
    }

    /// Reads the trailer and compares the checksum.
    fn finish(&mut self) -> Result<(), Error> {
        let mut trailer = vec![0; self.version.trailer_bytes() - HASH_BYTES];
        self.read_hashed(&mut trailer)?;
        let mut stated = [0; HASH_BYTES];
        self.read(&mut stated)?;
        let computed = self.hash.take().map(|hash| hash.finalize().into());
        if computed != Some(stated) {
            return Err(damaged("its checksum is wrong"));
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
        let mut header = [0; FRAME_HEADER_BYTES];
        self.read_hashed(&mut header)?;
        if header == [0; FRAME_HEADER_BYTES] {
            self.finish()?;
            return Ok(false);
        }
        let header = FrameHeader::parse(&header, 2 * FRAME_BYTES_MAX as u64)?;
        let mut packed = vec![0; header.packed];
        self.read_hashed(&mut packed)?;
        header.decompress(&packed, frame)?;
        Ok(true)
    }
}

/// The lengths and the checksum before a frame.
struct FrameHeader {
    raw: usize,
    packed: usize,
    crc: u32,
}

impl FrameHeader {
    /// Parses the header of a frame that has at most `limit` compressed bytes.
    fn parse(header: &[u8; FRAME_HEADER_BYTES], limit: u64) -> Result<Self, Error> {
        let word = |at: usize| {
            let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
            u32::from_le_bytes(bytes)
        };
        let (raw, packed) = (word(0) as usize, word(4) as usize);
        if raw == 0 || raw > FRAME_BYTES_MAX || limit < packed as u64 {
            return Err(damaged("a frame's lengths are out of range"));
        }
        let crc = word(8);
        Ok(Self { raw, packed, crc })
    }

    /// Checks and decompresses a frame.
    fn decompress(&self, packed: &[u8], frame: &mut Vec<u8>) -> Result<(), Error> {
        if crc32fast::hash(packed) != self.crc {
            return Err(damaged("a frame's checksum is wrong"));
        }
        frame.reserve_exact(self.raw);
        let status = Decompress::new(false)
            .decompress_vec(packed, frame, FlushDecompress::Finish)
            .map_err(|_| damaged("a frame cannot be decompressed"))?;
        if status != Status::StreamEnd || frame.len() != self.raw {
            return Err(damaged("a frame has another length than its header states"));
        }
        Ok(())
    }
}

/// Returns the error for a damaged index.
pub(crate) fn damaged(reason: &str) -> Error {
    Error::corrupt(format!("its index is damaged: {reason}"))
}

/// Returns the error for a file that this program cannot use as an index.
pub(crate) fn unknown() -> Error {
    damaged("its version is unknown, or it is not an index")
}

/// Returns the error for an index that cannot be read.
pub(crate) fn read_failed(error: io::Error) -> Error {
    Error::io("read", Path::new("the index"), error)
}
