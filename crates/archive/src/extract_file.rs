//! One file out of an archive, with nothing else of it read than the blocks that hold the file.

use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::fs::FileExt;

use crate::Error;
use crate::blocks::Inflater;
use crate::index::{BlockPlace, IndexReader, Record, Records, StreamFrames};
use crate::list::{EntryKind, ListedEntry};
use crate::tar_format::{Kind, Segment, TapeReader, read_error};

/// More than a file's blocks can take beyond what is stored of it: the first and the last one hold others, too.
const MORE: u64 = 16 << 20;

/// What an index knows of a path.
#[derive(Debug)]
pub enum PathLookup<I> {
    /// There is no such entry.
    Nothing,
    /// It is something else than a file.
    NoFile(EntryKind),
    /// It is a further name of the file that has this path.
    Link(Vec<u8>),
    /// It is a file.
    File(Box<FileLocation<I>>),
}

/// Where a file lies in its archive.
pub struct FileLocation<I> {
    entry: ListedEntry,
    block: BlockPlace,
    /// Where in that block its header starts.
    offset: u64,
    /// What comes after it, up to which its index was read.
    records: Records<StreamFrames<I>>,
}

/// Looks for a path, as [`list`](crate::list()) shows it, in an index that comes as a stream.
///
/// # Errors
///
/// [`Error::Corrupt`] for what is no index, or not as it was written; [`Error::Io`] if it cannot be read.
pub fn find_file<I: Read>(index: I, path: &[u8]) -> Result<PathLookup<I>, Error> {
    let mut records = Records::new(StreamFrames::open(index)?);
    let mut block = None;
    while let Some(record) = records.next()? {
        match record {
            Record::Block(place) => block = Some(place),
            Record::Entry(entry, offset) if entry.path == path => {
                let block =
                    block.ok_or_else(|| Error::corrupt("its index starts with an entry"))?;
                return Ok(match entry.kind {
                    EntryKind::File => PathLookup::File(Box::new(FileLocation {
                        entry,
                        block,
                        offset,
                        records,
                    })),
                    EntryKind::HardLink => PathLookup::Link(entry.link),
                    kind @ (EntryKind::Directory | EntryKind::Symlink) => PathLookup::NoFile(kind),
                });
            }
            Record::Entry(..) => {}
        }
    }
    Ok(PathLookup::Nothing)
}

impl<I> std::fmt::Debug for FileLocation<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place")
            .field("entry", &self.entry)
            .finish_non_exhaustive()
    }
}

impl<I: Read> FileLocation<I> {
    /// What the index says of the file.
    #[must_use]
    pub fn entry(&self) -> &ListedEntry {
        &self.entry
    }

    /// The part of the archive that has to be read: it holds all of the file, and may hold more.
    #[must_use]
    pub fn range(&self) -> std::ops::Range<u64> {
        let stored = self.entry.stored;
        let most = stored.saturating_add(stored / 64).saturating_add(MORE);
        self.block.offset..self.block.offset.saturating_add(most)
    }

    /// Opens the file, in the archive read from the start of [`FileLocation::range`] on.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if archive or index is damaged, or they do not belong together; [`Error::Io`].
    pub fn open<A: Read>(self, archive: A) -> Result<SingleFile<I, A>, Error> {
        let mut stream = Stream {
            archive,
            records: self.records,
            next: Some(self.block),
            inflater: Inflater::new(),
            current: Vec::new(),
            used: 0,
        };
        let skip = usize::try_from(self.offset).unwrap_or(usize::MAX);
        if stream.fill_buf().map_err(read_error)?.len() < skip {
            return Err(Error::corrupt("its index points beyond a block"));
        }
        stream.consume(skip);
        let mut tape = TapeReader::new(stream);
        let entry = tape
            .next_entry()?
            .ok_or_else(|| Error::corrupt("its index points to its end"))?;
        if entry.path != self.entry.path
            || entry.kind != Kind::File
            || entry.size != self.entry.size
        {
            return Err(Error::corrupt("its index points to another entry"));
        }
        Ok(SingleFile {
            tape,
            size: entry.size,
            segments: entry.segments,
            segment: 0,
            at: 0,
        })
    }
}

/// The bytes of one file, holes as zeros, checked as they are unpacked.
pub struct SingleFile<I, A> {
    tape: TapeReader<Stream<I, A>>,
    size: u64,
    /// Where the data of a sparse file lies.
    segments: Option<Vec<Segment>>,
    /// The first of them that was not read to its end.
    segment: usize,
    at: u64,
}

impl<I, A> std::fmt::Debug for SingleFile<I, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SingleFile")
            .field("size", &self.size)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl<I: Read, A: Read> SingleFile<I, A> {
    /// Fills the start of `buffer` with the next bytes, and says how many; none at the end.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if the archive is damaged, [`Error::Io`].
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        if self.at >= self.size || buffer.is_empty() {
            return Ok(0);
        }
        let (has_data, until) = self.stretch();
        let most = (until.min(self.size) - self.at).min(buffer.len() as u64);
        let length = if has_data {
            let bytes = self.tape.data_up_to(most)?;
            if bytes.is_empty() {
                return Err(Error::corrupt("it ends too early"));
            }
            buffer[..bytes.len()].copy_from_slice(bytes);
            bytes.len()
        } else {
            let length = usize::try_from(most).unwrap_or(buffer.len());
            buffer[..length].fill(0);
            length
        };
        self.at += length as u64;
        Ok(length)
    }

    /// Says whether data or a hole comes next, and up to where.
    fn stretch(&mut self) -> (bool, u64) {
        let Some(segments) = &self.segments else {
            return (true, self.size);
        };
        while let Some(segment) = segments.get(self.segment) {
            let end = segment.offset.saturating_add(segment.length);
            if segment.offset > self.at {
                return (false, segment.offset);
            }
            if end > self.at {
                return (true, end);
            }
            self.segment += 1;
        }
        (false, self.size)
    }
}

/// Writes one file of the archive to `output`, reading only the blocks that hold it.
///
/// `path` is the entry's path as [`list`](crate::list()) shows it. Hard links are followed, symlinks are not. Returns
/// the entry's size, or none if there is no such path.
///
/// # Errors
///
/// [`Error::Corrupt`] for an archive or index that is damaged or do not belong together, [`Error::Hostile`]
/// if the entry is no file, [`Error::Output`] if `output` fails, [`Error::Io`].
pub fn read_file(
    archive: &File,
    index: &File,
    path: &[u8],
    output: &mut dyn Write,
) -> Result<Option<u64>, Error> {
    // Checked as a whole, since here that costs little.
    IndexReader::open(index)?;
    let found = match find_file(Tail::new(index, 0), path)? {
        PathLookup::Link(first) => find_file(Tail::new(index, 0), &first)?,
        found => found,
    };
    let place = match found {
        PathLookup::Nothing => return Ok(None),
        PathLookup::NoFile(_) | PathLookup::Link(_) => {
            return Err(Error::hostile(path, "it is no file"));
        }
        PathLookup::File(place) => place,
    };
    let size = place.entry.size;
    let start = place.range().start;
    let mut file = place.open(Tail::new(archive, start))?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => output.write_all(&buffer[..read]).map_err(Error::Output)?,
        }
    }
    output.flush().map_err(Error::Output)?;
    Ok(Some(size))
}

/// A file's bytes from some place on, its cursor left alone.
struct Tail<'a> {
    file: &'a File,
    at: u64,
}

impl<'a> Tail<'a> {
    fn new(file: &'a File, at: u64) -> Self {
        Self { file, at }
    }
}

impl Read for Tail<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// The tar stream from some block on, unpacked as it is read.
struct Stream<I, A> {
    /// From the next block on.
    archive: A,
    records: Records<StreamFrames<I>>,
    next: Option<BlockPlace>,
    inflater: Inflater,
    current: Vec<u8>,
    used: usize,
}

impl<I: Read, A: Read> BufRead for Stream<I, A> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.used == self.current.len() {
            while self.next.is_none() {
                match self.records.next().map_err(io::Error::other)? {
                    None => return Ok(&[]),
                    Some(Record::Block(place)) => self.next = Some(place),
                    Some(Record::Entry(..)) => {}
                }
            }
            let Some(place) = self.next.take() else {
                return Ok(&[]);
            };
            self.current = self
                .inflater
                .next_block(&mut self.archive, &place)
                .map_err(io::Error::other)?;
            self.used = 0;
        }
        Ok(&self.current[self.used..])
    }

    fn consume(&mut self, amount: usize) {
        self.used += amount;
    }
}

impl<I: Read, A: Read> Read for Stream<I, A> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}
