//! Compresses the blocks of the tar stream independently; together they are one gzip member.
//!
//! Each compressed block starts with an empty window and ends at a whole byte, so it can be
//! decompressed alone. An empty final deflate block ends the stream. The CRC-32 of the stream is
//! combined from those of its blocks. Pieces of a block that look compressed already are stored,
//! and only repeats in them are encoded. To compress them again would take most of a backup's time
//! and gain nothing.

mod density;
mod final_block;
mod huffman;
mod repeats;

use libdeflater::{CompressionLvl, Compressor as Deflate};

use crate::Error;

use density::is_dense;
use final_block::FinalBlockFinder;
use repeats::RepeatEncoder;

/// The most bytes of the tar stream in one block.
pub(crate) const BLOCK_BYTES: usize = 1 << 20;
/// Bytes that are stored or compressed together.
const PIECE_BYTES: usize = 64 << 10;

/// A gzip header without time, name and system, so that the same tree gives the same bytes.
pub(crate) const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// An empty final deflate block.
pub(crate) const FINAL_BLOCK: [u8; 2] = [0x03, 0x00];

/// A compressor. It is reused for every block of a thread.
pub(crate) struct Compressor {
    /// Whether every piece is stored, as level 0 demands.
    stores: bool,
    deflate: Deflate,
    finder: FinalBlockFinder,
    repeats: RepeatEncoder,
}

impl Compressor {
    pub(crate) fn new(level: u32) -> Self {
        let known = i32::try_from(level.min(9))
            .ok()
            .and_then(|level| CompressionLvl::new(level).ok())
            .unwrap_or_default();
        Self {
            stores: level == 0,
            deflate: Deflate::new(known),
            finder: FinalBlockFinder::new(),
            repeats: RepeatEncoder::new(),
        }
    }

    /// Compresses a block into `out`, which is cleared first.
    pub(crate) fn compress(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        out.clear();
        if self.stores {
            return match raw {
                [] => Ok(()),
                _ => self.deflate(raw, out),
            };
        }
        out.reserve(raw.len() / 2 + 1024);
        let mut at = 0;
        while at < raw.len() {
            let dense = is_dense(piece(raw, at));
            let mut end = at + piece(raw, at).len();
            while end < raw.len() && is_dense(piece(raw, end)) == dense {
                end += piece(raw, end).len();
            }
            if dense {
                self.repeats.encode(&raw[..end], at, out);
            } else {
                self.deflate(&raw[at..end], out)?;
            }
            at = end;
        }
        Ok(())
    }

    /// Compresses a part of the block with an empty window, and appends it.
    fn deflate(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let start = out.len();
        out.resize(start + self.deflate.deflate_compress_bound(raw.len()), 0);
        let length = self
            .deflate
            .deflate_compress(raw, &mut out[start..])
            .map_err(|error| Error::corrupt(format!("deflate failed: {error}")))?;
        out.truncate(start + length);
        self.finder.clear_final_flag(out, start)
    }
}

fn piece(raw: &[u8], at: usize) -> &[u8] {
    &raw[at..raw.len().min(at + PIECE_BYTES)]
}

#[cfg(test)]
mod tests;
