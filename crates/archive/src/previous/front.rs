//! What a new archive needs to know of the front of the previous one.

use crc32fast::Hasher;

use super::{Previous, unusable};
use crate::Error;
use crate::compress::GZIP_HEADER;
use crate::filler::filler;
use crate::resumable_hash::CHUNK_BYTES;

impl Previous {
    /// Returns the filler before a block, and its offset.
    fn filler_before(&self, block: usize) -> Result<(Vec<u8>, u64), Error> {
        let before = block
            .checked_sub(1)
            .map(|before| self.blocks[before].location);
        let end = before.map_or(GZIP_HEADER.len() as u64, |before| {
            before.offset + before.packed
        });
        let length = self.blocks[block].location.offset - end;
        let bytes = usize::try_from(length).ok().and_then(filler);
        let bytes = bytes.ok_or_else(|| unusable("its index has impossible filler"))?;
        Ok((bytes, end))
    }

    /// Returns the CRC-32 of the archive up to the end of its first `blocks` blocks.
    pub(crate) fn front_crc(&self, blocks: usize) -> Result<u32, Error> {
        let mut crc = Hasher::new();
        crc.update(&GZIP_HEADER);
        for (number, block) in self.blocks[..blocks].iter().enumerate() {
            crc.update(&self.filler_before(number)?.0);
            let reuse = block.location.reuse;
            let reuse = reuse.ok_or_else(|| unusable("its index lacks hashes"))?;
            let packed = block.location.packed;
            crc.combine(&Hasher::new_with_initial_len(reuse.packed_crc, packed));
        }
        Ok(crc.finalize())
    }

    /// Checks the filler before a block.
    pub(crate) fn check_filler(&self, block: usize) -> Result<(), Error> {
        let (expected, end) = self.filler_before(block)?;
        let mut found = vec![0; expected.len()];
        let read = self.archive.fill(&mut found, end);
        read.map_err(|error| unusable(error.to_string()))?;
        if found == expected {
            Ok(())
        } else {
            Err(unusable("the filler before a block is damaged"))
        }
    }

    /// Returns the bytes before `end` that a SHA-256 keeps for its next chunk.
    pub(crate) fn bytes_before(&self, end: u64) -> Result<Vec<u8>, Error> {
        let length = end % CHUNK_BYTES as u64;
        let mut bytes = vec![0; length as usize];
        let read = self.archive.fill(&mut bytes, end - length);
        read.map_err(|error| unusable(error.to_string()))?;
        Ok(bytes)
    }

    /// Checks the bytes before the first block.
    pub(crate) fn check_header(&self) -> Result<(), Error> {
        let mut header = [0; GZIP_HEADER.len()];
        let read = self.archive.fill(&mut header, 0);
        read.map_err(|error| unusable(error.to_string()))?;
        if header != GZIP_HEADER {
            return Err(unusable("its gzip header is damaged"));
        }
        Ok(())
    }
}
