//! What is in an archive, and one file out of it.

use std::fs::File;
use std::io::{self, BufRead, Read, Write};

use crate::blocks::Inflater;
use crate::gunzip::Front;
use crate::index::{BlockPlace, IndexReader, Record, Records};
use crate::tape::{Entry, Kind, TapeReader};
use crate::{Control, Error};

/// What kind of thing an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symlink.
    Symlink,
    /// A further name of a file that stands earlier in the archive.
    HardLink,
}

/// One entry of an archive, as [`list`] shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its path below the root, raw bytes without a trailing slash.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Target of a symlink, or the path that a hard link names.
    pub link: Vec<u8>,
    /// Bytes of the file, holes included.
    pub size: u64,
    /// Bytes that the archive stores for it, before compression.
    pub stored: u64,
    /// Whether it is stored with holes.
    pub sparse: bool,
    /// Permission bits, the special ones included.
    pub mode: u32,
    /// Number of the owner.
    pub uid: u64,
    /// Number of the group.
    pub gid: u64,
    /// Modification time: seconds since 1970 and nanoseconds.
    pub mtime: (i64, u32),
    /// Device it lay on; 0 without an index.
    pub device: u64,
    /// Inode it had; 0 without an index.
    pub inode: u64,
    /// Time of its last change: seconds since 1970 and nanoseconds; 0 without an index.
    pub ctime: (i64, u32),
}

/// Hands every entry to `each`, in the order of the archive.
///
/// With the index it takes milliseconds; without, the whole archive is read.
///
/// # Errors
///
/// [`Error::Corrupt`] for an archive or index that is damaged, [`Error::Io`], [`Error::Cancelled`], or
/// what `each` returns.
pub fn list(
    archive: &File,
    index: Option<&File>,
    control: &Control,
    each: &mut dyn FnMut(&Listed) -> Result<(), Error>,
) -> Result<(), Error> {
    if let Some(index) = index {
        let mut records = IndexReader::open(index)?.records();
        while let Some(record) = records.next()? {
            control.check()?;
            if let Record::Entry(listed, _) = record {
                each(&listed)?;
            }
        }
        return Ok(());
    }
    let mut tape = TapeReader::new(Front::new(archive, control).gunzip());
    while let Some(entry) = tape.next_entry()? {
        control.check()?;
        each(&Listed::from(entry))?;
    }
    Ok(())
}

/// Writes one file of the archive to `output`, reading only the blocks that hold it.
///
/// `path` is the entry's path as [`list`] shows it. Hard links are followed, symlinks are not. Returns
/// the entry, or none if there is no such path.
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
) -> Result<Option<Listed>, Error> {
    let reader = IndexReader::open(index)?;
    let Some(mut found) = find(&reader, path)? else {
        return Ok(None);
    };
    if found.entry.kind == EntryKind::HardLink {
        let Some(first) = find(&reader, &found.entry.link)? else {
            return Ok(None);
        };
        found = Found {
            entry: found.entry,
            ..first
        };
    } else if found.entry.kind != EntryKind::File {
        return Err(Error::hostile(path, "it is no file"));
    }
    let mut stream = Stream {
        archive,
        records: found.records,
        next: Some(found.block),
        inflater: Inflater::new(),
        current: Vec::new(),
        used: 0,
    };
    let skip = usize::try_from(found.offset).unwrap_or(usize::MAX);
    if stream.fill_buf().map_err(crate::tape::read_error)?.len() < skip {
        return Err(Error::corrupt("its index points beyond a block"));
    }
    stream.consume(skip);
    let mut tape = TapeReader::new(stream);
    let entry = tape
        .next_entry()?
        .ok_or_else(|| Error::corrupt("its index points to its end"))?;
    let same = if found.entry.kind == EntryKind::HardLink {
        &found.entry.link
    } else {
        &found.entry.path
    };
    if entry.path != *same || entry.kind != Kind::File {
        return Err(Error::corrupt("its index points to another entry"));
    }
    write_out(&mut tape, &entry, output)?;
    Ok(Some(found.entry))
}

struct Found<'a> {
    entry: Listed,
    block: BlockPlace,
    offset: u64,
    records: Records<'a>,
}

fn find<'a>(index: &IndexReader<'a>, path: &[u8]) -> Result<Option<Found<'a>>, Error> {
    let mut records = index.records();
    let mut block = None;
    while let Some(record) = records.next()? {
        match record {
            Record::Block(place) => block = Some(place),
            Record::Entry(entry, offset) if entry.path == path => {
                let block =
                    block.ok_or_else(|| Error::corrupt("its index starts with an entry"))?;
                return Ok(Some(Found {
                    entry,
                    block,
                    offset,
                    records,
                }));
            }
            Record::Entry(..) => {}
        }
    }
    Ok(None)
}

/// Copies the data of an entry, holes as zeros.
fn write_out<R: BufRead>(
    tape: &mut TapeReader<R>,
    entry: &Entry,
    output: &mut dyn Write,
) -> Result<(), Error> {
    let mut at = 0;
    for segment in entry.segments.iter().flatten() {
        let gap = segment.offset - at;
        io::copy(&mut io::repeat(0).take(gap), output).map_err(Error::Output)?;
        let mut left = segment.length;
        while left > 0 {
            let bytes = tape.data_up_to(left)?;
            if bytes.is_empty() {
                return Err(Error::corrupt("it ends too early"));
            }
            left -= bytes.len() as u64;
            output.write_all(bytes).map_err(Error::Output)?;
        }
        at = segment.offset + segment.length;
    }
    loop {
        let bytes = tape.data()?;
        if bytes.is_empty() {
            break;
        }
        output.write_all(bytes).map_err(Error::Output)?;
        at += bytes.len() as u64;
    }
    io::copy(
        &mut io::repeat(0).take(entry.size.saturating_sub(at)),
        output,
    )
    .map_err(Error::Output)?;
    output.flush().map_err(Error::Output)
}

/// The tar stream from some block on, unpacked as it is read.
struct Stream<'a> {
    archive: &'a File,
    records: Records<'a>,
    next: Option<BlockPlace>,
    inflater: Inflater,
    current: Vec<u8>,
    used: usize,
}

impl BufRead for Stream<'_> {
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
                .block(self.archive, &place)
                .map_err(io::Error::other)?;
            self.used = 0;
        }
        Ok(&self.current[self.used..])
    }

    fn consume(&mut self, amount: usize) {
        self.used += amount;
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl From<Entry> for Listed {
    fn from(mut entry: Entry) -> Self {
        while entry.path.len() > 1 && entry.path.ends_with(b"/") {
            entry.path.pop();
        }
        Self {
            kind: match entry.kind {
                Kind::File => EntryKind::File,
                Kind::Directory => EntryKind::Directory,
                Kind::Symlink => EntryKind::Symlink,
                Kind::HardLink => EntryKind::HardLink,
            },
            sparse: entry.segments.is_some(),
            path: entry.path,
            link: entry.link,
            size: entry.size,
            stored: entry.stored,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: (entry.mtime.seconds, entry.mtime.nanoseconds),
            device: 0,
            inode: 0,
            ctime: (0, 0),
        }
    }
}
