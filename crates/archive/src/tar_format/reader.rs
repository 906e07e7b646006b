//! Reads an archive entry by entry, and stops at everything that is not well-formed to the last byte.
//!
//! Takes ustar, PAX, GNU long names and every sparse format; memory is bounded whatever sizes an
//! archive claims. Bytes are handed out as slices of the input's own buffer.

use std::io::{self, BufRead};

use super::decode::{Header, decode, old_segments};
use super::pax::{self, invalid};
use super::{Entry, Kind, RECORD, Segment, Time, padding, sparse};
use crate::Error;

/// The largest extended header or long name, in bytes.
const LARGEST_EXTENSION: u64 = 4 << 20;
/// The most segments in the map of a sparse file.
const MOST_SEGMENTS: usize = 1 << 20;

/// A reader of entries and their bytes.
pub(crate) struct TapeReader<R> {
    input: R,
    /// Bytes of the current entry that were not handed out yet.
    left: u64,
    /// Filling behind them.
    pad: usize,
    /// Bytes handed out last, still in the input's buffer.
    held: usize,
}

/// What extended headers said about the next entry.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    mtime: Option<Time>,
    uid: Option<u64>,
    gid: Option<u64>,
    size: Option<u64>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    sparse_major: Option<u64>,
    sparse_name: Option<Vec<u8>>,
    sparse_size: Option<u64>,
    sparse_numbers: Option<Vec<u64>>,
}

impl<R: BufRead> TapeReader<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            left: 0,
            pad: 0,
            held: 0,
        }
    }

    /// Reads up to the next entry; none at the end of the archive, which is then at its last byte.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        self.skip_data().map_err(read_error)?;
        let mut extension = Extension::default();
        let mut extended = false;
        loop {
            let record = self.record().map_err(read_error)?;
            let Some(header) = decode(&record).map_err(read_error)? else {
                if extended {
                    return Err(Error::corrupt("it ends after an extended header"));
                }
                self.end().map_err(read_error)?;
                return Ok(None);
            };
            match header.kind {
                b'x' | b'g' | b'L' | b'K' => {
                    self.extend(&header, &mut extension).map_err(read_error)?;
                    extended |= header.kind != b'g';
                }
                _ => return self.entry(header, extension).map(Some),
            }
        }
    }

    /// The next bytes of the entry; empty at its end.
    pub(crate) fn data(&mut self) -> Result<&[u8], Error> {
        self.chunk().map_err(read_error)
    }

    /// The next bytes of the entry, not more than `most`.
    pub(crate) fn data_up_to(&mut self, most: u64) -> Result<&[u8], Error> {
        let length = self.chunk().map_err(read_error)?.len();
        self.held = usize::try_from(most).unwrap_or(usize::MAX).min(length);
        let held = self.held;
        let buffer = self.input.fill_buf().map_err(read_error)?;
        Ok(&buffer[..held])
    }

    fn chunk(&mut self) -> io::Result<&[u8]> {
        self.release();
        if self.left == 0 {
            return Ok(&[]);
        }
        let buffer = self.input.fill_buf()?;
        if buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        self.held = length;
        Ok(&buffer[..length])
    }

    fn release(&mut self) {
        self.input.consume(self.held);
        self.left -= self.held as u64;
        self.held = 0;
    }

    fn skip_data(&mut self) -> io::Result<()> {
        while !self.chunk()?.is_empty() {}
        let pad = std::mem::take(&mut self.pad);
        let mut filling = [0; RECORD];
        self.input.read_exact(&mut filling[..pad])
    }

    fn record(&mut self) -> io::Result<[u8; RECORD]> {
        let mut record = [0; RECORD];
        self.input.read_exact(&mut record)?;
        Ok(record)
    }

    /// Behind the last entry: a second empty record, then nothing but zeros.
    fn end(&mut self) -> io::Result<()> {
        if self.record()?.iter().any(|&byte| byte != 0) {
            return Err(invalid("there is a lone empty record between entries"));
        }
        loop {
            let rest = self.input.fill_buf()?;
            if rest.is_empty() {
                return Ok(());
            }
            if rest.iter().any(|&byte| byte != 0) {
                return Err(invalid("something follows the end of the tar archive"));
            }
            let length = rest.len();
            self.input.consume(length);
        }
    }

    fn extend(&mut self, header: &Header, extension: &mut Extension) -> io::Result<()> {
        if header.size > LARGEST_EXTENSION {
            return Err(invalid("an extended header is too large"));
        }
        self.left = header.size;
        self.pad = padding(header.size);
        let mut text = Vec::new();
        loop {
            let bytes = self.chunk()?;
            if bytes.is_empty() {
                break;
            }
            text.extend_from_slice(bytes);
        }
        self.skip_data()?;
        let name = || text.strip_suffix(b"\0").unwrap_or(&text).to_vec();
        match header.kind {
            b'L' => extension.path = Some(name()),
            b'K' => extension.link = Some(name()),
            // What a global header says is not used, but it must be well-formed.
            b'g' => pax::parse(&text, |_, _| Ok(()))?,
            _ => pax::parse(&text, |key, value| extension.set(key, value))?,
        }
        Ok(())
    }

    fn entry(&mut self, header: Header, mut extension: Extension) -> Result<Entry, Error> {
        let mut path = extension.path.take().unwrap_or(header.name);
        let old_sparse = header.sparse;
        let kind = match header.kind {
            b'0' | 0 | b'7' | b'S' => {
                if header.kind == 0 && path.ends_with(b"/") {
                    Kind::Directory
                } else {
                    Kind::File
                }
            }
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'5' => Kind::Directory,
            b'3' | b'4' => return Err(Error::hostile(&path, "it is a device")),
            b'6' => return Err(Error::hostile(&path, "it is a named pipe")),
            _ => return Err(Error::hostile(&path, "it is of an unknown kind")),
        };
        let stored = if kind == Kind::File {
            extension.size.unwrap_or(header.size)
        } else {
            0
        };
        if i64::try_from(stored).is_err() {
            return Err(Error::hostile(&path, "its size is absurd"));
        }
        self.left = stored;
        self.pad = padding(stored);
        let mut size = stored;
        let mut segments = None;
        if kind == Kind::File {
            if let Some(old) = old_sparse {
                size = old.size;
                let map = self
                    .old_map(old.segments, old.continues)
                    .map_err(read_error)?;
                segments = Some(map);
            } else if extension.sparse_major == Some(1) {
                size = extension.sparse_size.unwrap_or(stored);
                segments = Some(self.leading_map().map_err(read_error)?);
            } else if let Some(numbers) = extension.sparse_numbers.take() {
                size = extension.sparse_size.unwrap_or(stored);
                segments = Some(pairs(&numbers).map_err(read_error)?);
            }
            if let Some(name) = extension.sparse_name.take() {
                path = name;
            }
        }
        if let Some(map) = &segments {
            let total = sparse::check(map, size).map_err(read_error)?;
            if total != self.left || i64::try_from(size).is_err() {
                return Err(Error::hostile(&path, "its map does not fit its size"));
            }
        }
        Ok(Entry {
            path,
            kind,
            link: extension.link.unwrap_or(header.link),
            mode: header.mode,
            uid: extension.uid.unwrap_or(header.uid),
            gid: extension.gid.unwrap_or(header.gid),
            mtime: extension.mtime.unwrap_or(Time {
                seconds: header.seconds,
                nanoseconds: 0,
            }),
            size,
            stored: self.left,
            segments,
            xattrs: extension.xattrs,
        })
    }

    /// Reads the map that PAX 1.0 puts in front of the data.
    fn leading_map(&mut self) -> io::Result<Vec<Segment>> {
        let mut used = 0_u64;
        let count = self.line(&mut used)?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > MOST_SEGMENTS {
            return Err(invalid("the map of a sparse file is too long"));
        }
        let mut segments = Vec::new();
        for _ in 0..count {
            let offset = self.line(&mut used)?;
            let length = self.line(&mut used)?;
            segments.push(Segment { offset, length });
        }
        for _ in 0..padding(used) {
            self.byte()?;
        }
        Ok(segments)
    }

    fn line(&mut self, used: &mut u64) -> io::Result<u64> {
        let mut digits = Vec::new();
        loop {
            *used += 1;
            match self.byte()? {
                b'\n' => return pax::parse_number(&digits),
                byte if digits.len() < 20 => digits.push(byte),
                _ => return Err(invalid("the map of a sparse file is malformed")),
            }
        }
    }

    fn byte(&mut self) -> io::Result<u8> {
        let byte = *self.chunk()?.first().ok_or(io::ErrorKind::UnexpectedEof)?;
        self.held = 1;
        self.release();
        Ok(byte)
    }

    /// Reads the records that continue an old GNU map; the entry's own data comes after them.
    fn old_map(&mut self, mut map: Vec<Segment>, mut continues: bool) -> io::Result<Vec<Segment>> {
        while continues {
            let record = self.record()?;
            map.extend(old_segments(&record[..504])?);
            continues = record[504] != 0;
            if map.len() > MOST_SEGMENTS {
                return Err(invalid("the map of a sparse file is too long"));
            }
        }
        Ok(map)
    }
}

impl Extension {
    fn set(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"mtime" => self.mtime = Some(pax::parse_time(value)?),
            b"uid" => self.uid = Some(pax::parse_number(value)?),
            b"gid" => self.gid = Some(pax::parse_number(value)?),
            b"size" => self.size = Some(pax::parse_number(value)?),
            b"GNU.sparse.major" => self.sparse_major = Some(pax::parse_number(value)?),
            b"GNU.sparse.name" => self.sparse_name = Some(value.to_vec()),
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => {
                self.sparse_size = Some(pax::parse_number(value)?);
            }
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                self.sparse_numbers
                    .get_or_insert_default()
                    .push(pax::parse_number(value)?);
            }
            b"GNU.sparse.map" => {
                let numbers = value
                    .split(|&byte| byte == b',')
                    .filter(|part| !part.is_empty());
                let numbers: io::Result<Vec<u64>> = numbers.map(pax::parse_number).collect();
                self.sparse_numbers = Some(numbers?);
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

fn pairs(numbers: &[u64]) -> io::Result<Vec<Segment>> {
    if !numbers.len().is_multiple_of(2) {
        return Err(invalid("the map of a sparse file is malformed"));
    }
    let pairs = numbers.chunks_exact(2);
    Ok(pairs
        .map(|pair| Segment {
            offset: pair[0],
            length: pair[1],
        })
        .collect())
}

/// Tells a damaged archive from a disk that cannot be read.
pub(crate) fn read_error(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::corrupt("it ends too early"),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            Error::corrupt(error.to_string())
        }
        // A reader of ours passes its own reason through.
        _ => match error.downcast::<Error>() {
            Ok(reason) => reason,
            Err(error) => Error::io("read", std::path::Path::new("the archive"), error),
        },
    }
}
