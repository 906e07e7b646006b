//! The threads between the packer and the archive: compress blocks in parallel, write them in
//! order.
//!
//! All queues are bounded, so memory depends on the number of threads only. The bytes written
//! depend on the blocks only, never on which thread was faster.

mod prepare;
mod write;

use std::io::Write;

use crc32fast::Hasher;
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::index::{BlockLocation, CONTENT_BYTES, CreatedWith, IndexTotals};
use crate::options::thread_count;
use crate::output::ArchiveOutput;
use crate::previous::Previous;
use crate::{Control, CreateOptions, Error, threads};

use prepare::prepare_blocks;
pub(crate) use write::WrittenArchive;
use write::{HashedOutput, write_blocks};

/// A block of the tar stream, and the index records of the entries that start in it.
#[derive(Default)]
pub(crate) struct Block {
    pub(crate) raw: Vec<u8>,
    pub(crate) records: Vec<u8>,
}

/// What becomes blocks of the archive.
enum BlockSource {
    New(Block),
    /// Blocks of the previous archive, in their order.
    Old(Vec<TakenBlock>),
}

/// A block of the previous archive.
pub(crate) struct TakenBlock {
    pub(crate) location: BlockLocation,
    /// The index records of its entries.
    pub(crate) records: Vec<u8>,
    pub(crate) place: OldPlace,
}

/// The place that a block of the previous archive takes in the new one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OldPlace {
    /// Another one. It is checked here.
    Moved,
    /// The same, since the output has taken it over with the front. It is checked here.
    Front,
    /// The same, and the output has checked it.
    UnreadFront,
}

/// The shortest block that is worth filler before it.
const FILLED_BYTES_MIN: usize = 128 << 10;

/// Where the compressed bytes of a block come from.
enum PackedBytes {
    New,
    /// The previous archive has them at this offset.
    Old(u64),
    /// The output has them at this offset. The state of the hash after them is known.
    Front(u64, [u8; 32]),
}

/// A block that is ready to be written.
struct ReadyBlock {
    /// The tar stream, if it was packed now.
    block: Block,
    raw_bytes: usize,
    /// The compressed bytes. Empty if the block belongs to the front.
    bytes: Vec<u8>,
    packed_bytes: usize,
    origin: PackedBytes,
    /// CRC-32 of the tar stream.
    crc: Hasher,
    /// CRC-32 of the compressed bytes.
    packed_crc: u32,
    /// The start of the BLAKE3 of the tar stream.
    content: [u8; CONTENT_BYTES],
}

/// Blocks to prepare, and a buffer for compressed bytes.
struct BlockJob {
    source: BlockSource,
    bytes: Vec<u8>,
    done: Sender<ReadyBlocks>,
}

/// Blocks that are ready to be written, in their order.
type ReadyBlocks = Result<Vec<ReadyBlock>, Error>;

/// The next thing to write. The order of these messages is the order of the archive.
enum WriteStep {
    Blocks(Receiver<ReadyBlocks>),
    End(ArchiveEnd),
}

/// What is known of an archive when all of its entries are packed.
pub(crate) struct ArchiveEnd {
    pub(crate) totals: IndexTotals,
    /// Whether every file could be read to its end, with its attributes.
    pub(crate) is_complete: bool,
}

/// The front of the previous archive, with which the new one begins.
pub(crate) struct Front {
    /// Its last block.
    pub(crate) last: BlockLocation,
    /// The bytes at its end that the state of the hash lacks.
    pub(crate) rest: Vec<u8>,
    /// CRC-32 of the front.
    pub(crate) crc: u32,
}

/// The packer's end of the pipeline.
pub(crate) struct BlockSink {
    jobs: Sender<BlockJob>,
    steps: Sender<WriteStep>,
    /// Buffers that were written and can be used again.
    written: Receiver<(Block, Vec<u8>)>,
    spare: Vec<Vec<u8>>,
}

impl BlockSink {
    /// Sends a block to the compressors and returns an empty one.
    ///
    /// Fails only after the writer has failed. [`run`] then returns the writer's error.
    pub(crate) fn send(&mut self, block: Block) -> Result<Block, Error> {
        self.start(BlockSource::New(block))?;
        let Ok((mut block, bytes)) = self.written.try_recv() else {
            return Ok(Block::default());
        };
        self.spare.push(bytes);
        block.raw.clear();
        block.records.clear();
        Ok(block)
    }

    /// Takes over blocks of the previous archive. Fails as [`Self::send`] does.
    pub(crate) fn take(&mut self, old: Vec<TakenBlock>) -> Result<(), Error> {
        if let Ok((_, bytes)) = self.written.try_recv() {
            self.spare.push(bytes);
        }
        self.start(BlockSource::Old(old))
    }

    fn start(&mut self, source: BlockSource) -> Result<(), Error> {
        let (done, ready) = bounded(1);
        let bytes = self.spare.pop().unwrap_or_default();
        self.steps
            .send(WriteStep::Blocks(ready))
            .map_err(|_| Error::Cancelled)?;
        let job = BlockJob {
            source,
            bytes,
            done,
        };
        self.jobs.send(job).map_err(|_| Error::Cancelled)
    }

    fn end(self, end: ArchiveEnd) {
        // If the writer has failed, `run` returns its error.
        let _ = self.steps.send(WriteStep::End(end));
    }
}

/// What the pipeline needs to know of an archive before it begins.
pub(crate) struct ArchiveStart<'a> {
    pub(crate) options: &'a CreateOptions,
    pub(crate) created_with: CreatedWith,
    pub(crate) previous: Option<&'a Previous>,
    pub(crate) front: Option<Front>,
    pub(crate) control: &'a Control,
}

/// Runs `produce` on this thread, and the compressors and the writer on threads of their own.
pub(crate) fn run<T>(
    start: ArchiveStart<'_>,
    archive: &mut dyn ArchiveOutput,
    index: impl Write + Send,
    produce: impl FnOnce(&mut BlockSink) -> Result<(T, ArchiveEnd), Error>,
) -> Result<(T, WrittenArchive), Error> {
    let ArchiveStart {
        options,
        created_with,
        previous,
        front,
        control,
    } = start;
    let count = thread_count(options.threads);
    let level = options.level;
    let limit = options.max_archive_bytes;
    let (jobs, queue) = bounded::<BlockJob>(count);
    let (steps, order) = bounded::<WriteStep>(count + 2);
    let (give_back, written) = bounded(count + 4);
    std::thread::scope(move |scope| {
        let writer = threads::spawn(scope, move || {
            let output = HashedOutput::begin(archive, limit, front)?;
            write_blocks(&order, &give_back, output, index, created_with)
        })?;
        threads::spawn_pool(scope, count, || {
            let queue = queue.clone();
            move || prepare_blocks(&queue, level, previous, control)
        })?;
        drop(queue);
        let mut sink = BlockSink {
            jobs,
            steps,
            written,
            spare: Vec::new(),
        };
        let produced = match produce(&mut sink) {
            Ok((value, end)) => {
                sink.end(end);
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
