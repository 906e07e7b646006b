//! Extracts one file of an archive. Reads only the blocks that hold the file.

use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::fs::FileExt;

use crate::Error;
use crate::blocks::Inflater;
use crate::index::{BlockLocation, IndexReader, Record, RecordReader, StreamFrames};
use crate::list::ListedEntry;
use crate::tar_format::{EntryKind, Segment, TarReader, read_error};

/// An upper bound for the bytes of other files in the first and the last block of a file.
const RANGE_MARGIN: u64 = 16 << 20;

/// The result of looking up a path in an index.
#[derive(Debug)]
pub enum PathLookup<I> {
    /// There is no such entry.
    Missing,
    /// It is a folder or a symlink.
    NotAFile(EntryKind),
    /// It is a hard link to the file with this path.
    HardLink(Vec<u8>),
    /// It is a file.
    File(Box<FileLocation<I>>),
}

/// The location of a file in its archive.
pub struct FileLocation<I> {
    entry: ListedEntry,
    block: BlockLocation,
    /// The offset of its header in that block.
    offset: u64,
    /// The records after it.
    records: RecordReader<StreamFrames<I>>,
}

/// Looks up a path, as [`list`](crate::list()) returns it, in an index that is read as a stream.
///
/// # Errors
///
/// [`Error::Corrupt`] if the index is damaged; [`Error::Io`] if it cannot be read.
pub fn find_file<I: Read>(index: I, path: &[u8]) -> Result<PathLookup<I>, Error> {
    let mut records = RecordReader::open(index)?;
    let mut block = None;
    while let Some(record) = records.next()? {
        match record {
            Record::Block(location) => block = Some(location),
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
                    EntryKind::HardLink => PathLookup::HardLink(entry.link),
                    kind @ (EntryKind::Directory | EntryKind::Symlink) => {
                        PathLookup::NotAFile(kind)
                    }
                });
            }
            Record::Entry(..) => {}
        }
    }
    Ok(PathLookup::Missing)
}

impl<I> std::fmt::Debug for FileLocation<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileLocation")
            .field("entry", &self.entry)
            .finish_non_exhaustive()
    }
}

impl<I: Read> FileLocation<I> {
    /// Returns the entry of the file.
    #[must_use]
    pub fn entry(&self) -> &ListedEntry {
        &self.entry
    }

    /// Returns the range of the archive that holds the file. It may be longer than necessary.
    #[must_use]
    pub fn range(&self) -> std::ops::Range<u64> {
        let stored = self.entry.stored;
        let most = stored
            .saturating_add(stored / 64)
            .saturating_add(RANGE_MARGIN);
        self.block.offset..self.block.offset.saturating_add(most)
    }

    /// Opens the file. `archive` must start at the start of [`FileLocation::range`].
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if archive or index is damaged or they do not belong together;
    /// [`Error::Io`].
    pub fn open<A: Read>(self, archive: A) -> Result<SingleFile<I, A>, Error> {
        let mut stream = BlockReader {
            archive,
            records: self.records,
            next: Some(self.block),
            at: self.block.offset,
            inflater: Inflater::new(),
            current: Vec::new(),
            used: 0,
        };
        let skip = usize::try_from(self.offset).unwrap_or(usize::MAX);
        if stream.fill_buf().map_err(read_error)?.len() < skip {
            return Err(Error::corrupt("its index points beyond a block"));
        }
        stream.consume(skip);
        let mut tar = TarReader::new(stream);
        let entry = tar
            .next_entry()?
            .ok_or_else(|| Error::corrupt("its index points to its end"))?;
        if entry.path != self.entry.path
            || entry.kind != EntryKind::File
            || entry.size != self.entry.size
        {
            return Err(Error::corrupt("its index points to another entry"));
        }
        Ok(SingleFile {
            tar,
            size: entry.size,
            segments: entry.segments,
            segment: 0,
            at: 0,
        })
    }
}

/// A reader of one file. Holes are read as zeros, and each block is checked.
pub struct SingleFile<I, A> {
    tar: TarReader<BlockReader<I, A>>,
    size: u64,
    /// The data ranges of a sparse file.
    segments: Option<Vec<Segment>>,
    /// The first range that was not read to its end.
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
    /// Reads the next bytes into `buffer`. Returns how many; 0 at the end.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if the archive is damaged, [`Error::Io`].
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        if self.at >= self.size || buffer.is_empty() {
            return Ok(0);
        }
        let (has_data, until) = self.next_range();
        let most = (until.min(self.size) - self.at).min(buffer.len() as u64);
        let length = if has_data {
            let bytes = self.tar.data_up_to(most)?;
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

    /// Returns whether data is next (or a hole), and the offset at which it ends.
    fn next_range(&mut self) -> (bool, u64) {
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

/// Writes one file of the archive to `output`. Reads only the blocks that hold it.
///
/// `path` is the path of an entry, as [`list`](crate::list()) returns it. Hard links are followed,
/// symlinks are not. Returns the size of the file in bytes, or `None` if there is no such path.
///
/// # Errors
///
/// [`Error::Corrupt`] if archive or index is damaged or they do not belong together,
/// [`Error::Hostile`] if the entry is not a file, [`Error::Output`] if `output` fails,
/// [`Error::Io`].
pub fn read_file(
    archive: &File,
    index: &File,
    path: &[u8],
    output: &mut dyn Write,
) -> Result<Option<u64>, Error> {
    // Checks the whole index before it is used.
    IndexReader::open(index)?;
    let found = match find_file(OffsetReader::new(index, 0), path)? {
        PathLookup::HardLink(first) => match find_file(OffsetReader::new(index, 0), &first)? {
            PathLookup::Missing => {
                return Err(Error::corrupt("its index has a hard link to nothing"));
            }
            found => found,
        },
        found => found,
    };
    let location = match found {
        PathLookup::Missing => return Ok(None),
        PathLookup::NotAFile(_) | PathLookup::HardLink(_) => {
            return Err(Error::hostile(path, "it is not a file"));
        }
        PathLookup::File(location) => location,
    };
    let size = location.entry.size;
    let start = location.range().start;
    let mut file = location.open(OffsetReader::new(archive, start))?;
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

/// Reads a file from an offset on, without moving its cursor.
struct OffsetReader<'a> {
    file: &'a File,
    at: u64,
}

impl<'a> OffsetReader<'a> {
    fn new(file: &'a File, at: u64) -> Self {
        Self { file, at }
    }
}

impl Read for OffsetReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// The tar stream from one block on, decompressed while it is read.
struct BlockReader<I, A> {
    /// The compressed bytes, from the next block on.
    archive: A,
    records: RecordReader<StreamFrames<I>>,
    next: Option<BlockLocation>,
    /// The offset of the next byte of `archive`.
    at: u64,
    inflater: Inflater,
    current: Vec<u8>,
    used: usize,
}

impl<I: Read, A: Read> BufRead for BlockReader<I, A> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.used == self.current.len() {
            while self.next.is_none() {
                match self.records.next().map_err(io::Error::other)? {
                    None => return Ok(&[]),
                    Some(Record::Block(location)) => self.next = Some(location),
                    Some(Record::Entry(..)) => {}
                }
            }
            let Some(location) = self.next.take() else {
                return Ok(&[]);
            };
            let filler = location.offset - self.at;
            self.at = location.offset + location.packed;
            self.current = self
                .inflater
                .next_block(&mut self.archive, filler, &location)
                .map_err(io::Error::other)?;
            self.used = 0;
        }
        Ok(&self.current[self.used..])
    }

    fn consume(&mut self, amount: usize) {
        self.used += amount;
    }
}

impl<I: Read, A: Read> Read for BlockReader<I, A> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{
        BlockReuse, CreatedWith, EntryRecords, IndexTotals, IndexWriter, SourceFile,
    };
    use crate::tar_format::TarEntry;

    #[test]
    fn a_hard_link_to_nothing_is_damage_and_no_missing_path() {
        let entry = TarEntry {
            path: b"link".to_vec(),
            kind: EntryKind::HardLink,
            link: b"nothing".to_vec(),
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: Default::default(),
            size: 0,
            stored: 0,
            segments: None,
            acls: Default::default(),
            xattrs: Default::default(),
        };
        let mut records = Vec::new();
        EntryRecords::default().add(&entry, 0, &SourceFile::default(), &mut records);
        let mut bytes = Vec::new();
        let mut writer = IndexWriter::new(&mut bytes).expect("an index");
        let reuse = BlockReuse::default();
        let block = writer.block(512, 20, 0, &reuse, &records);
        block.expect("a block");
        let (totals, with) = (IndexTotals::default(), CreatedWith::default());
        writer.finish(&totals, with, &[0; 32]).expect("an index");
        let mut index = tempfile::tempfile().expect("a file");
        index.write_all(&bytes).expect("the index is written");
        let read = |path| read_file(&index, &index, path, &mut io::sink());
        assert!(matches!(read(b"link"), Err(Error::Corrupt { .. })));
        assert!(matches!(read(b"nothing"), Ok(None)));
    }
}
