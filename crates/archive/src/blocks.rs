//! Decompresses an archive with its index: blocks in parallel, returned in order.

use std::io::{self, BufRead, Read};
use std::ops::Range;
use std::thread::Scope;

use crc32fast::Hasher;
use crossbeam_channel::{Receiver, Sender, bounded};
use flate2::{Decompress, FlushDecompress, Status};

use crate::compress::{FINAL_BLOCK, GZIP_HEADER};
use crate::index::{BlockLocation, IndexReader};
use crate::read_at::ReadAt;
use crate::tar_format::read_error;
use crate::{Control, Error, threads};

/// How much of a block is read at a time to check it. It stays in the cache of a processor.
const CHECKED_BYTES: usize = 128 << 10;

/// A decompressor of blocks. Its buffers are reused.
pub(crate) struct Inflater {
    inflate: Decompress,
    packed: Vec<u8>,
}

impl Inflater {
    pub(crate) fn new() -> Self {
        Self {
            inflate: Decompress::new(false),
            packed: Vec::new(),
        }
    }

    /// Reads a block at its offset and decompresses it. Length and CRC-32 must match the index.
    pub(crate) fn block(
        &mut self,
        archive: &dyn ReadAt,
        location: &BlockLocation,
    ) -> Result<Vec<u8>, Error> {
        read_packed(archive, location, &mut self.packed)?;
        self.decompress(location)
    }

    /// Decompresses a block whose bytes are next in `archive`, after `filler` other bytes.
    pub(crate) fn next_block(
        &mut self,
        archive: &mut impl Read,
        filler: u64,
        location: &BlockLocation,
    ) -> Result<Vec<u8>, Error> {
        let skipped = io::copy(&mut archive.take(filler), &mut io::sink());
        if skipped.map_err(read_error)? < filler {
            return Err(Error::corrupt("it ends too early"));
        }
        self.packed.resize(length(location.packed), 0);
        archive.read_exact(&mut self.packed).map_err(read_error)?;
        self.decompress(location)
    }

    fn decompress(&mut self, location: &BlockLocation) -> Result<Vec<u8>, Error> {
        // zlib reports the end of the input only if the output has room left.
        const ROOM: usize = 64;
        let mut raw = Vec::with_capacity(length(location.raw) + ROOM);
        self.inflate.reset(false);
        let status = self
            .inflate
            .decompress_vec(&self.packed, &mut raw, FlushDecompress::Sync)
            .map_err(|_| Error::corrupt("a block cannot be decompressed"))?;
        let whole = self.inflate.total_in() == location.packed && raw.len() as u64 == location.raw;
        if status == Status::StreamEnd || !whole || crc32fast::hash(&raw) != location.crc {
            return Err(Error::corrupt("a block does not match its index"));
        }
        Ok(raw)
    }
}

/// Reads the compressed bytes of a block.
pub(crate) fn read_packed(
    archive: &dyn ReadAt,
    location: &BlockLocation,
    into: &mut Vec<u8>,
) -> Result<(), Error> {
    into.resize(length(location.packed), 0);
    archive.fill(into, location.offset).map_err(read_error)
}

/// Checks the compressed bytes of a block by its index.
pub(crate) fn check_packed(location: &BlockLocation, packed: &[u8]) -> Result<(), Error> {
    check_packed_crc(location, crc32fast::hash(packed))
}

/// Reads the compressed bytes of a block only to check them. `part` is a buffer.
pub(crate) fn check_packed_at(
    archive: &dyn ReadAt,
    location: &BlockLocation,
    part: &mut Vec<u8>,
) -> Result<(), Error> {
    let mut crc = Hasher::new();
    let (mut at, end) = (location.offset, location.offset + location.packed);
    while at < end {
        part.resize(CHECKED_BYTES.min(length(end - at)), 0);
        archive.fill(part, at).map_err(read_error)?;
        crc.update(part);
        at += part.len() as u64;
    }
    check_packed_crc(location, crc.finalize())
}

fn check_packed_crc(location: &BlockLocation, crc: u32) -> Result<(), Error> {
    if location.reuse.map(|reuse| reuse.packed_crc) == Some(crc) {
        Ok(())
    } else {
        Err(Error::corrupt("a block does not match its index"))
    }
}

fn length(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

/// The bytes of the tar stream in one block.
type BlockBytes = Result<Vec<u8>, Error>;

struct DecompressJob {
    location: BlockLocation,
    /// The ranges of its bytes that are needed; `None` for all.
    ranges: Option<Vec<Range<usize>>>,
    done: Sender<BlockBytes>,
}

impl DecompressJob {
    fn run(&self, inflater: &mut Inflater, archive: &dyn ReadAt) -> BlockBytes {
        let raw = inflater.block(archive, &self.location)?;
        let Some(ranges) = &self.ranges else {
            return Ok(raw);
        };
        let mut needed = Vec::with_capacity(ranges.iter().map(Range::len).sum());
        for range in ranges {
            let bytes = raw.get(range.clone());
            let bytes = bytes.ok_or_else(|| Error::corrupt("its index points beyond a block"))?;
            needed.extend_from_slice(bytes);
        }
        Ok(needed)
    }
}

/// The tar stream of an archive, in the order of its blocks.
pub(crate) struct BlockStream {
    order: Receiver<Receiver<BlockBytes>>,
    current: Vec<u8>,
    used: usize,
}

/// Takes the blocks of a [`BlockStream`], in their order.
pub(crate) struct BlockFeed {
    jobs: Sender<DecompressJob>,
    turns: Sender<Receiver<BlockBytes>>,
}

impl BlockFeed {
    /// Sends a block, or some ranges of its bytes. Returns false if the stream is no longer read.
    pub(crate) fn send(&self, location: BlockLocation, ranges: Option<Vec<Range<usize>>>) -> bool {
        let (done, turn) = bounded(1);
        let job = DecompressJob {
            location,
            ranges,
            done,
        };
        self.turns.send(turn).is_ok() && self.jobs.send(job).is_ok()
    }

    /// Sends bytes that are in no block.
    pub(crate) fn send_bytes(&self, bytes: Vec<u8>) {
        self.send_result(Ok(bytes));
    }

    fn send_result(&self, result: BlockBytes) {
        let (done, turn) = bounded(1);
        // Fails only if the reader has stopped.
        let _ = done.send(result);
        let _ = self.turns.send(turn);
    }
}

/// Starts threads that decompress the blocks that `feed` sends. Returns the tar stream.
pub(crate) fn decompress_blocks<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    archive: &'env dyn ReadAt,
    count: usize,
    feed: impl FnOnce(&BlockFeed) -> Result<(), Error> + Send + 'scope,
) -> Result<BlockStream, Error> {
    let (jobs, work) = bounded::<DecompressJob>(count);
    let (turns, order) = bounded(count + 1);
    threads::spawn_pool(scope, count, || {
        let work = work.clone();
        move || {
            let mut inflater = Inflater::new();
            for job in work {
                // Fails only if the reader has stopped.
                let _ = job.done.send(job.run(&mut inflater, archive));
            }
        }
    })?;
    threads::spawn(scope, move || {
        let blocks = BlockFeed { jobs, turns };
        if let Err(error) = feed(&blocks) {
            blocks.send_result(Err(error));
        }
    })?;
    Ok(BlockStream {
        order,
        current: Vec::new(),
        used: 0,
    })
}

/// Sends all blocks. Checks the gzip header and trailer.
pub(crate) fn send_all(
    archive: &dyn ReadAt,
    index: &IndexReader<'_>,
    control: &Control,
    feed: &BlockFeed,
) -> Result<(), Error> {
    let mut header = [0; GZIP_HEADER.len()];
    archive.fill(&mut header, 0).map_err(read_error)?;
    if header != GZIP_HEADER {
        return Err(Error::corrupt("its gzip header does not match its index"));
    }
    let mut records = index.records();
    let mut crc = Hasher::new();
    let mut raw = 0;
    let mut end = GZIP_HEADER.len() as u64;
    while let Some(location) = records.next_block()? {
        control.check()?;
        crc.combine(&Hasher::new_with_initial_len(location.crc, location.raw));
        raw += location.raw;
        end = location.offset + location.packed;
        if !feed.send(location, None) {
            return Ok(());
        }
    }
    let mut tail = Vec::from(FINAL_BLOCK);
    tail.extend_from_slice(&crc.finalize().to_le_bytes());
    tail.extend_from_slice(&(raw as u32).to_le_bytes());
    let mut found = vec![0; tail.len()];
    archive.fill(&mut found, end).map_err(read_error)?;
    if found != tail || end + tail.len() as u64 != index.totals.archive_bytes {
        return Err(Error::corrupt("its end does not match its index"));
    }
    Ok(())
}

impl BufRead for BlockStream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.used == self.current.len() {
            let Ok(turn) = self.order.recv() else {
                return Ok(&[]);
            };
            let next = turn.recv().unwrap_or(Err(Error::Cancelled));
            self.current = next.map_err(io::Error::other)?;
            self.used = 0;
        }
        Ok(&self.current[self.used..])
    }

    fn consume(&mut self, amount: usize) {
        self.used += amount;
    }
}

impl Read for BlockStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}
