//! The threads between the packer and the archive: compress blocks in parallel, write them in
//! order.
//!
//! All queues are bounded, so memory depends on the number of threads only. The bytes written
//! depend on the blocks only, never on which thread was faster.

use std::io::Write;

use crc32fast::Hasher;
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::compress::{Compressor, FINAL_BLOCK, GZIP_HEADER};
use crate::index::{BlockReuse, CONTENT_BYTES, CreatedWith, IndexTotals, IndexWriter};
use crate::options::thread_count;
use crate::pace::Pace;
use crate::resumable_hash::ResumableSha256;
use crate::{Control, CreateOptions, Error, threads};

/// A block of the tar stream, and the index records of the entries that start in it.
#[derive(Default)]
pub(crate) struct Block {
    pub(crate) raw: Vec<u8>,
    pub(crate) records: Vec<u8>,
}

struct CompressedBlock {
    block: Block,
    bytes: Vec<u8>,
    /// CRC-32 of the block.
    crc: Hasher,
    /// CRC-32 of the compressed bytes.
    packed_crc: u32,
    /// The start of the BLAKE3 of the block.
    content: [u8; CONTENT_BYTES],
}

/// A block to compress, and an empty buffer for the result.
struct CompressJob {
    block: Block,
    bytes: Vec<u8>,
    done: Sender<Result<CompressedBlock, Error>>,
}

/// The next thing to write. The order of these messages is the order of the archive.
enum WriteStep {
    Block(Receiver<Result<CompressedBlock, Error>>),
    End(IndexTotals),
}

/// The packer's end of the pipeline.
pub(crate) struct BlockSink {
    jobs: Sender<CompressJob>,
    steps: Sender<WriteStep>,
    /// Buffers that were written and can be used again.
    written: Receiver<(Block, Vec<u8>)>,
    spare: Vec<Vec<u8>>,
}

/// Hash and size of an archive that was written completely.
pub(crate) struct WrittenArchive {
    pub(crate) sha256: [u8; 32],
    pub(crate) archive_bytes: u64,
}

impl BlockSink {
    /// Sends a block to the compressors and returns an empty one.
    ///
    /// Fails only after the writer has failed. [`run`] then returns the writer's error.
    pub(crate) fn send(&mut self, block: Block) -> Result<Block, Error> {
        let (done, compressed) = bounded(1);
        let bytes = self.spare.pop().unwrap_or_default();
        self.steps
            .send(WriteStep::Block(compressed))
            .map_err(|_| Error::Cancelled)?;
        self.jobs
            .send(CompressJob { block, bytes, done })
            .map_err(|_| Error::Cancelled)?;
        let Ok((mut block, bytes)) = self.written.try_recv() else {
            return Ok(Block::default());
        };
        self.spare.push(bytes);
        block.raw.clear();
        block.records.clear();
        Ok(block)
    }

    fn end(self, totals: IndexTotals) {
        // If the writer has failed, `run` returns its error.
        let _ = self.steps.send(WriteStep::End(totals));
    }
}

/// Runs `produce` on this thread, and the compressors and the writer on threads of their own.
pub(crate) fn run<T>(
    options: &CreateOptions,
    unsettled_since: i64,
    control: &Control,
    archive: impl Write + Send,
    index: impl Write + Send,
    produce: impl FnOnce(&mut BlockSink) -> Result<(T, IndexTotals), Error>,
) -> Result<(T, WrittenArchive), Error> {
    let count = thread_count(options.threads);
    let level = options.level;
    let limit = options.max_archive_bytes;
    let created_with = CreatedWith {
        level: level.min(9),
        xattrs: options.xattrs,
        unsettled_since,
    };
    let (jobs, queue) = bounded::<CompressJob>(count);
    let (steps, order) = bounded::<WriteStep>(count + 2);
    let (give_back, written) = bounded(count + 4);
    std::thread::scope(move |scope| {
        let writer = threads::spawn(scope, move || {
            let output = LimitedOutput::new(archive, limit);
            write_blocks(&order, &give_back, output, index, created_with)
        })?;
        threads::spawn_pool(scope, count, || {
            let queue = queue.clone();
            move || compress_blocks(&queue, level, control)
        })?;
        drop(queue);
        let mut sink = BlockSink {
            jobs,
            steps,
            written,
            spare: Vec::new(),
        };
        let produced = match produce(&mut sink) {
            Ok((value, totals)) => {
                sink.end(totals);
                Ok(value)
            }
            Err(error) => {
                drop(sink);
                Err(error)
            }
        };
        let written = writer
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (produced, written) {
            (_, Err(error)) | (Err(error), Ok(_)) => Err(error),
            (Ok(value), Ok(Some(written))) => Ok((value, written)),
            (Ok(_), Ok(None)) => Err(Error::Cancelled),
        }
    })
}

fn compress_blocks(queue: &Receiver<CompressJob>, level: u32, control: &Control) {
    let mut compressor = Compressor::new(level);
    let mut pace = Pace::new();
    for job in queue {
        pace.begin();
        let CompressJob {
            block,
            mut bytes,
            done,
        } = job;
        let mut crc = Hasher::new();
        crc.update(&block.raw);
        let compressed = compressor
            .compress(&block.raw, &mut bytes)
            .map(|()| CompressedBlock {
                packed_crc: crc32fast::hash(&bytes),
                content: content_hash(&block.raw),
                block,
                bytes,
                crc,
            });
        // Fails only if the writer has stopped after an error.
        let _ = done.send(compressed);
        pace.rest(control);
    }
}

/// Returns the start of the BLAKE3 of a block. It finds equal contents; nothing relies on it alone
/// for safety.
fn content_hash(raw: &[u8]) -> [u8; CONTENT_BYTES] {
    let mut hash = [0; CONTENT_BYTES];
    blake3::Hasher::new()
        .update(raw)
        .finalize_xof()
        .fill(&mut hash);
    hash
}

/// Writes blocks in their order. Returns `None` if the packer stopped before the end.
fn write_blocks<A: Write>(
    order: &Receiver<WriteStep>,
    give_back: &Sender<(Block, Vec<u8>)>,
    mut archive: LimitedOutput<A>,
    index: impl Write,
    created_with: CreatedWith,
) -> Result<Option<WrittenArchive>, Error> {
    let mut index = IndexWriter::new(index).map_err(Error::Output)?;
    let mut crc = Hasher::new();
    let mut tar_bytes = 0_u64;
    archive.write(&GZIP_HEADER)?;
    for step in order {
        let compressed = match step {
            WriteStep::Block(compressed) => compressed,
            WriteStep::End(totals) => {
                archive.write(&FINAL_BLOCK)?;
                archive.write(&crc.finalize().to_le_bytes())?;
                // The gzip trailer holds the length modulo 2^32.
                archive.write(&(tar_bytes as u32).to_le_bytes())?;
                let written = archive.finish()?;
                let totals = IndexTotals {
                    tar_bytes,
                    archive_bytes: written.archive_bytes,
                    ..totals
                };
                index
                    .finish(&totals, created_with, &written.sha256)
                    .map_err(Error::Output)?;
                return Ok(Some(written));
            }
        };
        let Ok(compressed) = compressed.recv() else {
            return Ok(None);
        };
        let compressed = compressed?;
        let (block, bytes) = (compressed.block, compressed.bytes);
        archive.write(&bytes)?;
        tar_bytes += block.raw.len() as u64;
        let block_crc = compressed.crc.clone().finalize();
        let reuse = BlockReuse {
            packed_crc: compressed.packed_crc,
            sha256_state: archive.hash.state(),
            content: compressed.content,
        };
        index
            .block(
                block.raw.len(),
                bytes.len(),
                block_crc,
                &reuse,
                &block.records,
            )
            .map_err(Error::Output)?;
        crc.combine(&compressed.crc);
        // A full channel means that there are enough buffers.
        let _ = give_back.try_send((block, bytes));
    }
    Ok(None)
}

/// The writer of an archive, which hashes, counts and limits its bytes.
struct LimitedOutput<W> {
    inner: W,
    hash: ResumableSha256,
    written: u64,
    limit: Option<u64>,
}

impl<W: Write> LimitedOutput<W> {
    fn new(inner: W, limit: Option<u64>) -> Self {
        Self {
            inner,
            hash: ResumableSha256::new(),
            written: 0,
            limit,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.written += bytes.len() as u64;
        if let Some(limit_bytes) = self.limit
            && self.written > limit_bytes
        {
            return Err(Error::TooLarge { limit_bytes });
        }
        self.inner.write_all(bytes).map_err(Error::Output)?;
        self.hash.update(bytes);
        Ok(())
    }

    fn finish(mut self) -> Result<WrittenArchive, Error> {
        self.inner.flush().map_err(Error::Output)?;
        Ok(WrittenArchive {
            sha256: self.hash.finish(),
            archive_bytes: self.written,
        })
    }
}
