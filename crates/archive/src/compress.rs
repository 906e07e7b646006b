//! Blocks of the tar stream as independent runs of deflate, which together are one gzip member.
//!
//! Every run starts with an empty window and ends at a byte with a sync flush, so that it can be
//! unpacked alone; the stream ends with one empty final run. CRC-32s are combined, not computed twice.

use flate2::{Compress, Compression, FlushCompress, Status};

use crate::Error;

/// Bytes of the tar stream in one block, at the most.
pub(crate) const BLOCK: usize = 1 << 20;

/// A gzip header that says nothing: no time, no name, no system.
pub(crate) const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// The empty final run.
pub(crate) const FINAL_RUN: [u8; 2] = [0x03, 0x00];

/// Compresses one block after the other.
pub(crate) struct Compressor {
    deflate: Compress,
}

impl Compressor {
    pub(crate) fn new(level: u32) -> Self {
        Self {
            deflate: Compress::new(Compression::new(level.clamp(1, 9)), false),
        }
    }

    /// Compresses a block into a run that stands for itself.
    pub(crate) fn block(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        self.deflate.reset();
        out.clear();
        out.reserve(raw.len() / 2 + 1024);
        let start = self.deflate.total_in();
        loop {
            let read = usize::try_from(self.deflate.total_in() - start).unwrap_or(usize::MAX);
            let status = self
                .deflate
                .compress_vec(&raw[read.min(raw.len())..], out, FlushCompress::Sync)
                .map_err(|error| Error::corrupt(format!("deflate failed: {error}")))?;
            let read = usize::try_from(self.deflate.total_in() - start).unwrap_or(usize::MAX);
            // A flush is complete once there is room left behind it.
            if read == raw.len() && out.len() < out.capacity() {
                return Ok(());
            }
            if status == Status::StreamEnd {
                return Err(Error::corrupt("deflate ended too early"));
            }
            out.reserve(raw.len() / 4 + 1024);
        }
    }
}
