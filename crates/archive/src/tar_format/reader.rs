//! Reads an archive entry by entry, and stops at anything that is not well-formed to the last byte.
//!
//! Reads ustar, PAX, GNU long names and all sparse formats. Memory is bounded, whatever sizes an
//! archive claims. Contents are returned as slices of the input's own buffer.

use std::io::{self, BufRead};
use std::path::Path;

use tar::{EntryType, GnuExtSparseHeader};

use super::decode::{GnuSparseMap, HeaderFields, decode_header, decode_segments};
use super::pax::{self, invalid};
use super::sparse::check_sparse_map;
use super::{EntryKind, Segment, TAR_BLOCK, TarEntry, Time, padding};
use crate::Error;

/// The largest extended header or long name, in bytes.
const MAX_EXTENSION: u64 = 4 << 20;
/// The most segments in the map of a sparse file.
const MAX_SEGMENTS: usize = 1 << 20;

/// A reader of entries and their contents.
pub(crate) struct TarReader<R> {
    input: R,
    /// Bytes of the current entry that were not returned yet.
    remaining: u64,
    /// Padding bytes after them.
    padding: usize,
    /// Bytes that were returned last and are still in the input's buffer.
    returned: usize,
}

/// What extended headers state about the next entry.
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
    /// Offsets and lengths in turn.
    sparse_numbers: Option<Vec<u64>>,
}

impl<R: BufRead> TarReader<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            remaining: 0,
            padding: 0,
            returned: 0,
        }
    }

    /// Skips the rest of the current entry and reads the next header.
    ///
    /// Returns `None` at the end of the archive, after checking that nothing follows.
    pub(crate) fn next_entry(&mut self) -> Result<Option<TarEntry>, Error> {
        self.skip_data().map_err(read_error)?;
        let mut extension = Extension::default();
        let mut is_extended = false;
        loop {
            let block = self.block().map_err(read_error)?;
            let Some(header) = decode_header(&block).map_err(read_error)? else {
                if is_extended {
                    return Err(Error::corrupt("it ends after an extended header"));
                }
                self.expect_end().map_err(read_error)?;
                return Ok(None);
            };
            match header.entry_type {
                EntryType::XHeader
                | EntryType::XGlobalHeader
                | EntryType::GNULongName
                | EntryType::GNULongLink => {
                    self.read_extension(&header, &mut extension)
                        .map_err(read_error)?;
                    is_extended |= header.entry_type != EntryType::XGlobalHeader;
                }
                _ => return self.entry(header, extension).map(Some),
            }
        }
    }

    /// Returns the next bytes of the entry; an empty slice at its end.
    pub(crate) fn data(&mut self) -> Result<&[u8], Error> {
        self.chunk().map_err(read_error)
    }

    /// Returns the next bytes of the entry, at most `limit`.
    pub(crate) fn data_up_to(&mut self, limit: u64) -> Result<&[u8], Error> {
        let length = self.chunk().map_err(read_error)?.len();
        self.returned = usize::try_from(limit).unwrap_or(usize::MAX).min(length);
        let returned = self.returned;
        let buffer = self.input.fill_buf().map_err(read_error)?;
        Ok(&buffer[..returned])
    }

    fn chunk(&mut self) -> io::Result<&[u8]> {
        self.consume_returned();
        if self.remaining == 0 {
            return Ok(&[]);
        }
        let buffer = self.input.fill_buf()?;
        if buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = usize::try_from(self.remaining)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        self.returned = length;
        Ok(&buffer[..length])
    }

    fn consume_returned(&mut self) {
        self.input.consume(self.returned);
        self.remaining -= self.returned as u64;
        self.returned = 0;
    }

    fn skip_data(&mut self) -> io::Result<()> {
        while !self.chunk()?.is_empty() {}
        let padding = std::mem::take(&mut self.padding);
        let mut skipped = [0; TAR_BLOCK];
        self.input.read_exact(&mut skipped[..padding])
    }

    fn block(&mut self) -> io::Result<[u8; TAR_BLOCK]> {
        let mut block = [0; TAR_BLOCK];
        self.input.read_exact(&mut block)?;
        Ok(block)
    }

    /// Reads the second empty block at the end of the archive. Only zeros may follow it.
    fn expect_end(&mut self) -> io::Result<()> {
        if self.block()?.iter().any(|&byte| byte != 0) {
            return Err(invalid("there is a single empty block between entries"));
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

    fn read_extension(
        &mut self,
        header: &HeaderFields,
        extension: &mut Extension,
    ) -> io::Result<()> {
        if header.size > MAX_EXTENSION {
            return Err(invalid("an extended header is too large"));
        }
        self.remaining = header.size;
        self.padding = padding(header.size);
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
        match header.entry_type {
            EntryType::GNULongName => extension.path = Some(name()),
            EntryType::GNULongLink => extension.link = Some(name()),
            // Global headers are not used, but they must be well-formed.
            EntryType::XGlobalHeader => pax::parse(&text, |_, _| Ok(()))?,
            _ => pax::parse(&text, |key, value| extension.set(key, value))?,
        }
        Ok(())
    }

    fn entry(&mut self, header: HeaderFields, mut extension: Extension) -> Result<TarEntry, Error> {
        let mut path = extension.path.take().unwrap_or(header.name);
        let kind = entry_kind(header.entry_type, header.is_v7, &path)?;
        let stored = match kind {
            EntryKind::File => extension.size.unwrap_or(header.size),
            _ => 0,
        };
        if i64::try_from(stored).is_err() {
            return Err(Error::hostile(&path, "its size is out of range"));
        }
        self.remaining = stored;
        self.padding = padding(stored);
        let mut size = stored;
        let mut segments = None;
        if kind == EntryKind::File {
            let sparse = self.sparse_map(header.sparse, &mut extension);
            if let Some((map, full_size)) = sparse.map_err(read_error)? {
                size = full_size.unwrap_or(stored);
                segments = Some(map);
            }
            if let Some(name) = extension.sparse_name.take() {
                path = name;
            }
        }
        if let Some(map) = &segments {
            let total = check_sparse_map(map, size).map_err(read_error)?;
            if total != self.remaining || i64::try_from(size).is_err() {
                return Err(Error::hostile(
                    &path,
                    "its sparse map does not match its size",
                ));
            }
        }
        Ok(TarEntry {
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
            stored: self.remaining,
            segments,
            xattrs: extension.xattrs,
        })
    }

    /// Returns the map of a sparse file and its full size, if stated; `None` for other files.
    fn sparse_map(
        &mut self,
        gnu: Option<GnuSparseMap>,
        extension: &mut Extension,
    ) -> io::Result<Option<(Vec<Segment>, Option<u64>)>> {
        if let Some(gnu) = gnu {
            let map = self.rest_of_gnu_map(gnu.segments, gnu.continues)?;
            return Ok(Some((map, Some(gnu.size))));
        }
        if extension.sparse_major == Some(1) {
            return Ok(Some((self.leading_map()?, extension.sparse_size)));
        }
        match extension.sparse_numbers.take() {
            Some(numbers) => Ok(Some((segments_of(&numbers)?, extension.sparse_size))),
            None => Ok(None),
        }
    }

    /// Reads the map that PAX 1.0 stores before the data.
    fn leading_map(&mut self) -> io::Result<Vec<Segment>> {
        let mut used = 0_u64;
        let count = self.line(&mut used)?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > MAX_SEGMENTS {
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

    /// Reads a decimal line, and adds its length to `used`.
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
        self.returned = 1;
        self.consume_returned();
        Ok(byte)
    }

    /// Reads the blocks that continue an old GNU map. The data of the entry follows them.
    fn rest_of_gnu_map(
        &mut self,
        mut map: Vec<Segment>,
        mut continues: bool,
    ) -> io::Result<Vec<Segment>> {
        while continues {
            let mut header = GnuExtSparseHeader::new();
            *header.as_mut_bytes() = self.block()?;
            map.extend(decode_segments(header.sparse())?);
            continues = header.isextended != [0];
            if map.len() > MAX_SEGMENTS {
                return Err(invalid("the map of a sparse file is too long"));
            }
        }
        Ok(map)
    }
}

/// Returns the kind of an entry. Devices, pipes and unknown types are refused.
fn entry_kind(entry_type: EntryType, is_v7: bool, path: &[u8]) -> Result<EntryKind, Error> {
    match entry_type {
        EntryType::Regular if is_v7 && path.ends_with(b"/") => Ok(EntryKind::Directory),
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Ok(EntryKind::File),
        EntryType::Link => Ok(EntryKind::HardLink),
        EntryType::Symlink => Ok(EntryKind::Symlink),
        EntryType::Directory => Ok(EntryKind::Directory),
        EntryType::Char | EntryType::Block => Err(Error::hostile(path, "it is a device")),
        EntryType::Fifo => Err(Error::hostile(path, "it is a named pipe")),
        _ => Err(Error::hostile(path, "it is of an unknown kind")),
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

fn segments_of(numbers: &[u64]) -> io::Result<Vec<Segment>> {
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

/// Separates a damaged archive from a disk that cannot be read.
pub(crate) fn read_error(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::corrupt("it ends too early"),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            Error::corrupt(error.to_string())
        }
        // Readers of this crate wrap their own errors.
        _ => match error.downcast::<Error>() {
            Ok(reason) => reason,
            Err(error) => Error::io("read", Path::new("the archive"), error),
        },
    }
}
