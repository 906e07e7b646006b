//! Unpacks an archive through its index: blocks side by side, handed out in order.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt;
use std::thread::Scope;

use crc32fast::Hasher;
use crossbeam_channel::{Receiver, Sender, bounded};
use flate2::{Decompress, FlushDecompress, Status};

use crate::compress::{FINAL_RUN, GZIP_HEADER};
use crate::index::{BlockPlace, Frames, IndexReader, Record, Records};
use crate::tar_format::read_error;
use crate::{Control, Error};

/// Unpacks one block after the other.
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

    /// Reads and unpacks a block, whose length and CRC-32 must be what the index says.
    pub(crate) fn block(&mut self, archive: &File, place: &BlockPlace) -> Result<Vec<u8>, Error> {
        self.packed.resize(length(place.packed), 0);
        archive
            .read_exact_at(&mut self.packed, place.offset)
            .map_err(read_error)?;
        self.unpack(place)
    }

    /// The same with a block whose bytes come next.
    pub(crate) fn next_block(
        &mut self,
        archive: &mut impl Read,
        place: &BlockPlace,
    ) -> Result<Vec<u8>, Error> {
        self.packed.resize(length(place.packed), 0);
        archive.read_exact(&mut self.packed).map_err(read_error)?;
        self.unpack(place)
    }

    fn unpack(&mut self, place: &BlockPlace) -> Result<Vec<u8>, Error> {
        // The end of a run is only seen if there is room behind it.
        const ROOM: usize = 64;
        let mut raw = Vec::with_capacity(length(place.raw) + ROOM);
        self.inflate.reset(false);
        let status = self
            .inflate
            .decompress_vec(&self.packed, &mut raw, FlushDecompress::Sync)
            .map_err(|_| Error::corrupt("a block cannot be unpacked"))?;
        let whole = self.inflate.total_in() == place.packed && raw.len() as u64 == place.raw;
        if status == Status::StreamEnd || !whole || crc32fast::hash(&raw) != place.crc {
            return Err(Error::corrupt("a block is not what its index says"));
        }
        Ok(raw)
    }
}

fn length(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

type Unpacked = Result<Vec<u8>, Error>;

struct Job {
    place: BlockPlace,
    done: Sender<Unpacked>,
}

/// The tar stream of an archive, as the blocks come in.
pub(crate) struct Blocks {
    order: Receiver<Receiver<Unpacked>>,
    current: Vec<u8>,
    used: usize,
}

/// Starts threads that unpack all blocks of the archive, and returns what they unpack.
pub(crate) fn unpack_blocks<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    archive: &'env File,
    index: &'env IndexReader<'env>,
    threads: usize,
    control: &'env Control,
) -> Blocks {
    let (jobs, work) = bounded::<Job>(threads);
    let (turns, order) = bounded(threads + 1);
    for _ in 0..threads {
        let work = work.clone();
        scope.spawn(move || {
            let mut inflater = Inflater::new();
            for Job { place, done } in work {
                // Whoever waited may have given up.
                let _ = done.send(inflater.block(archive, &place));
            }
        });
    }
    scope.spawn(move || {
        if let Err(error) = hand_out(archive, index, control, &jobs, &turns) {
            let (failed, turn) = bounded(1);
            let _ = failed.send(Err(error));
            let _ = turns.send(turn);
        }
    });
    Blocks {
        order,
        current: Vec::new(),
        used: 0,
    }
}

/// Hands the blocks to the threads, and checks what surrounds them.
fn hand_out(
    archive: &File,
    index: &IndexReader<'_>,
    control: &Control,
    jobs: &Sender<Job>,
    turns: &Sender<Receiver<Unpacked>>,
) -> Result<(), Error> {
    let mut header = [0; GZIP_HEADER.len()];
    archive.read_exact_at(&mut header, 0).map_err(read_error)?;
    if header != GZIP_HEADER {
        return Err(Error::corrupt("its gzip header is not what its index says"));
    }
    let mut records = index.records();
    let mut crc = Hasher::new();
    let mut raw = 0;
    let mut end = GZIP_HEADER.len() as u64;
    while let Some(place) = next_block(&mut records)? {
        control.check()?;
        crc.combine(&Hasher::new_with_initial_len(place.crc, place.raw));
        raw += place.raw;
        end = place.offset + place.packed;
        let (done, turn) = bounded(1);
        if turns.send(turn).is_err() || jobs.send(Job { place, done }).is_err() {
            return Ok(());
        }
    }
    let mut tail = Vec::from(FINAL_RUN);
    tail.extend_from_slice(&crc.finalize().to_le_bytes());
    tail.extend_from_slice(&(raw as u32).to_le_bytes());
    let mut found = vec![0; tail.len()];
    archive.read_exact_at(&mut found, end).map_err(read_error)?;
    if found != tail || end + tail.len() as u64 != index.totals.archive_bytes {
        return Err(Error::corrupt("its end is not what its index says"));
    }
    Ok(())
}

fn next_block(records: &mut Records<impl Frames>) -> Result<Option<BlockPlace>, Error> {
    while let Some(record) = records.next()? {
        if let Record::Block(place) = record {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

impl BufRead for Blocks {
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

impl Read for Blocks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}
