//! Blocks of the tar stream as independent runs of deflate, which together are one gzip member.
//!
//! Every run starts with an empty window and ends at a byte, so that it can be unpacked alone; the
//! stream ends with one empty final run. CRC-32s are combined, not computed twice. Pieces of a block
//! that look compressed already are stored with only their repeats coded: trying harder costs half of a
//! backup's time and gains nothing.

mod repeats;

use std::ops::Range;

use flate2::{Compress, Compression, FlushCompress, Status};

use crate::Error;
use repeats::Repeats;

/// Bytes of the tar stream in one block, at the most.
pub(crate) const BLOCK: usize = 1 << 20;
/// What is judged as one: compressible or not.
const PIECE: usize = 64 << 10;

/// A gzip header that says nothing: no time, no name, no system.
pub(crate) const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// The empty final run.
pub(crate) const FINAL_RUN: [u8; 2] = [0x03, 0x00];

/// Compresses one block after the other.
pub(crate) struct Compressor {
    deflate: Compress,
    repeats: Repeats,
}

impl Compressor {
    pub(crate) fn new(level: u32) -> Self {
        // Level 1 of zlib-rs is hardly faster than 2, and its output a quarter larger.
        let level = Compression::new(level.clamp(2, 9));
        Self {
            deflate: Compress::new(level, false),
            repeats: Repeats::new(),
        }
    }

    /// Compresses a block into a run that stands for itself.
    pub(crate) fn block(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        out.clear();
        out.reserve(raw.len() / 2 + 1024);
        let mut at = 0;
        while at < raw.len() {
            let dense = is_dense(piece(raw, at));
            let mut end = at + piece(raw, at).len();
            while end < raw.len() && is_dense(piece(raw, end)) == dense {
                end += piece(raw, end).len();
            }
            if dense {
                self.repeats.code(&raw[..end], at, out);
            } else {
                self.deflate(raw, at..end, out)?;
            }
            at = end;
        }
        Ok(())
    }

    /// Compresses a stretch of the block with an empty window.
    fn deflate(&mut self, raw: &[u8], range: Range<usize>, out: &mut Vec<u8>) -> Result<(), Error> {
        let raw = &raw[range];
        self.deflate.reset();
        loop {
            let read = usize::try_from(self.deflate.total_in()).unwrap_or(usize::MAX);
            let status = self
                .deflate
                .compress_vec(&raw[read.min(raw.len())..], out, FlushCompress::Sync)
                .map_err(|error| Error::corrupt(format!("deflate failed: {error}")))?;
            // A flush is complete once there is room left behind it.
            if self.deflate.total_in() == raw.len() as u64 && out.len() < out.capacity() {
                return Ok(());
            }
            if status == Status::StreamEnd {
                return Err(Error::corrupt("deflate ended too early"));
            }
            out.reserve(raw.len() / 4 + 1024);
        }
    }
}

fn piece(raw: &[u8], at: usize) -> &[u8] {
    &raw[at..raw.len().min(at + PIECE)]
}

/// Says whether a piece looks compressed already: its bytes, zeros aside, are all equally frequent.
fn is_dense(piece: &[u8]) -> bool {
    const LEAST: u32 = 4096;
    const ENOUGH_BITS: f64 = 7.8;
    let mut counts = [[0_u32; 256]; 4];
    let mut quads = piece.chunks_exact(4);
    for quad in quads.by_ref() {
        for (table, &byte) in counts.iter_mut().zip(quad) {
            table[usize::from(byte)] += 1;
        }
    }
    for &byte in quads.remainder() {
        counts[0][usize::from(byte)] += 1;
    }
    let count = |byte: usize| counts.iter().map(|table| table[byte]).sum::<u32>();
    let total: u32 = (1..256).map(count).sum();
    if total < LEAST {
        return false;
    }
    let sum: f64 = (1..256)
        .map(count)
        .filter(|&n| n > 0)
        .map(|n| f64::from(n) * f64::from(n).log2())
        .sum();
    let total = f64::from(total);
    total.log2() - sum / total > ENOUGH_BITS
}

#[cfg(test)]
mod tests;
