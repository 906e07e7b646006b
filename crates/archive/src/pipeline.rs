//! Threads between the packer and the archive: blocks are compressed side by side, written in order.
//!
//! Everything between them is bounded, so memory is a matter of the number of threads alone. The bytes
//! written depend on the blocks only, never on which thread was faster.

use std::io::Write;
use std::thread;

use crc32fast::Hasher;
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::compress::{Compressor, FINAL_RUN, GZIP_HEADER};
use crate::digest::Sha256;
use crate::index::{IndexTotals, IndexWriter};
use crate::options::thread_count;
use crate::{CreateOptions, Error};

/// A piece of the tar stream and the index records of the entries that start in it.
#[derive(Default)]
pub(crate) struct Block {
    pub(crate) raw: Vec<u8>,
    pub(crate) records: Vec<u8>,
}

struct Packed {
    block: Block,
    bytes: Vec<u8>,
    crc: Hasher,
}

struct Job {
    block: Block,
    bytes: Vec<u8>,
    done: Sender<Result<Packed, Error>>,
}

enum Turn {
    Block(Receiver<Result<Packed, Error>>),
    End(IndexTotals),
}

/// Where the packer hands over its blocks.
pub(crate) struct Sink {
    jobs: Sender<Job>,
    turns: Sender<Turn>,
    used: Receiver<(Block, Vec<u8>)>,
    spare: Vec<Vec<u8>>,
}

/// What was written.
pub(crate) struct Written {
    pub(crate) sha256: [u8; 32],
    pub(crate) archive_bytes: u64,
}

impl Sink {
    /// Hands over a block and returns an empty one.
    ///
    /// Fails only after the writer has: its error is the one that counts.
    pub(crate) fn send(&mut self, block: Block) -> Result<Block, Error> {
        let (done, turn) = bounded(1);
        let bytes = self.spare.pop().unwrap_or_default();
        self.turns
            .send(Turn::Block(turn))
            .map_err(|_| Error::Cancelled)?;
        self.jobs
            .send(Job { block, bytes, done })
            .map_err(|_| Error::Cancelled)?;
        let Ok((mut block, bytes)) = self.used.try_recv() else {
            return Ok(Block::default());
        };
        self.spare.push(bytes);
        block.raw.clear();
        block.records.clear();
        Ok(block)
    }

    fn end(self, totals: IndexTotals) {
        // If the writer is gone, its own error tells why.
        let _ = self.turns.send(Turn::End(totals));
    }
}

/// Runs `produce` on this thread, with compressors and the writer beside it.
pub(crate) fn run<T>(
    options: &CreateOptions,
    archive: impl Write + Send,
    index: impl Write + Send,
    produce: impl FnOnce(&mut Sink) -> Result<(T, IndexTotals), Error>,
) -> Result<(T, Written), Error> {
    let threads = thread_count(options.threads);
    let level = options.level;
    let limit = options.max_archive_bytes;
    let (jobs, work) = bounded::<Job>(threads);
    let (turns, order) = bounded::<Turn>(threads + 2);
    let (give_back, used) = bounded(threads + 4);
    thread::scope(|scope| {
        for _ in 0..threads {
            let work = work.clone();
            scope.spawn(move || compress(&work, level));
        }
        drop(work);
        let writer = scope.spawn(move || write(&order, &give_back, archive, index, limit));
        let mut sink = Sink {
            jobs,
            turns,
            used,
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

fn compress(work: &Receiver<Job>, level: u32) {
    let mut compressor = Compressor::new(level);
    for Job {
        block,
        mut bytes,
        done,
    } in work
    {
        let mut crc = Hasher::new();
        crc.update(&block.raw);
        let packed = compressor.block(&block.raw, &mut bytes);
        // The writer is gone after an error of its own; nobody waits for the block then.
        let _ = done.send(packed.map(|()| Packed { block, bytes, crc }));
    }
}

/// Writes blocks in their order; none if the packer gave up before the end.
fn write(
    order: &Receiver<Turn>,
    give_back: &Sender<(Block, Vec<u8>)>,
    archive: impl Write,
    index: impl Write,
    limit: Option<u64>,
) -> Result<Option<Written>, Error> {
    let mut archive = Output {
        inner: archive,
        hash: Sha256::new(),
        written: 0,
        limit,
    };
    let mut index = IndexWriter::new(index).map_err(Error::Output)?;
    let mut crc = Hasher::new();
    let mut raw_bytes = 0_u64;
    archive.write(&GZIP_HEADER)?;
    for turn in order {
        match turn {
            Turn::Block(done) => {
                let Ok(packed) = done.recv() else {
                    return Ok(None);
                };
                let Packed {
                    block,
                    bytes,
                    crc: block_crc,
                } = packed?;
                archive.write(&bytes)?;
                let (raw, packed) = (block.raw.len() as u64, bytes.len() as u64);
                raw_bytes += raw;
                index
                    .block(raw, packed, block_crc.clone().finalize(), &block.records)
                    .map_err(Error::Output)?;
                crc.combine(&block_crc);
                // A full pool means that there are buffers enough.
                let _ = give_back.try_send((block, bytes));
            }
            Turn::End(totals) => {
                archive.write(&FINAL_RUN)?;
                archive.write(&crc.finalize().to_le_bytes())?;
                archive.write(&(raw_bytes as u32).to_le_bytes())?;
                archive.inner.flush().map_err(Error::Output)?;
                let written = Written {
                    sha256: archive.hash.finish(),
                    archive_bytes: archive.written,
                };
                let totals = IndexTotals {
                    tar_bytes: raw_bytes,
                    archive_bytes: written.archive_bytes,
                    ..totals
                };
                index
                    .finish(&totals, &written.sha256)
                    .map_err(Error::Output)?;
                return Ok(Some(written));
            }
        }
    }
    Ok(None)
}

/// The archive on its way out: hashed, counted and limited.
struct Output<W> {
    inner: W,
    hash: Sha256,
    written: u64,
    limit: Option<u64>,
}

impl<W: Write> Output<W> {
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
}
