//! Compresses the blocks of the tar stream independently; together they are one gzip member.
//!
//! Each compressed block starts with an empty window and ends at a whole byte, so it can be
//! decompressed alone. An empty final deflate block ends the stream. The CRC-32 of the stream is
//! combined from those of its blocks. Pieces of a block that look compressed already are stored,
//! and only repeats in them are encoded. To compress them again would take half of a backup's time
//! and gain nothing.

mod final_block;
mod huffman;
mod repeats;

use libdeflater::{CompressionLvl, Compressor as Deflate};

use crate::Error;

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

/// Returns whether a piece looks compressed already: whether all bytes other than zero are about
/// equally frequent.
fn is_dense(piece: &[u8]) -> bool {
    const NONZERO_BYTES_MIN: u32 = 4096;
    const DENSE_BITS_MIN: f64 = 7.8;
    // A sample suffices to recognize most compressible pieces.
    const SAMPLE_BYTES: usize = 512;
    const SAMPLE_STEP: usize = 8;
    const SAMPLE_BITS_MIN: f64 = 7.5;
    let sample = piece.chunks(SAMPLE_BYTES).step_by(SAMPLE_STEP);
    let (_, bits) = entropy(sample);
    if bits < SAMPLE_BITS_MIN {
        return false;
    }
    let (total, bits) = entropy([piece].into_iter());
    total >= NONZERO_BYTES_MIN && bits > DENSE_BITS_MIN
}

/// Returns the number of bytes other than zero, and their entropy in bits per byte.
fn entropy<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (u32, f64) {
    let mut counts = [[0_u32; 256]; 4];
    for piece in pieces {
        let mut quads = piece.chunks_exact(4);
        for quad in quads.by_ref() {
            for (table, &byte) in counts.iter_mut().zip(quad) {
                table[usize::from(byte)] += 1;
            }
        }
        for &byte in quads.remainder() {
            counts[0][usize::from(byte)] += 1;
        }
    }
    let count = |byte: usize| counts.iter().map(|table| table[byte]).sum::<u32>();
    let total: u32 = (1..256).map(count).sum();
    let sum: f64 = (1..256)
        .map(count)
        .filter(|&n| n > 0)
        .map(|n| f64::from(n) * f64::from(n).log2())
        .sum();
    let bits = f64::from(total).log2() - sum / f64::from(total.max(1));
    (total, bits)
}

#[cfg(test)]
mod tests;
