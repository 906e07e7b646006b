//! Reads an archive entry by entry, and stops at anything that is not well-formed to the last byte.
//!
//! Reads ustar, PAX, GNU long names, GNU dumps and all sparse formats. Memory is bounded, whatever
//! sizes an archive claims. Contents are returned as slices of the input's own buffer.

use std::io::{self, BufRead};
use std::path::Path;

use tar::GnuExtSparseHeader;

use super::decode::{GnuSparseMap, HeaderFields, decode_header, decode_segments};
use super::extension::Extension;
use super::pax::{self, invalid};
use super::sparse::check_sparse_map;
use super::{EntryKind, MAX_SEGMENTS, Segment, TAR_BLOCK, TarEntry, Time, padding};
use crate::Error;

/// A folder.
const DIRECTORY: u8 = b'5';
/// The records of the next entry.
const PAX_HEADER: u8 = b'x';
/// The same, as Solaris writes it.
const SUN_PAX_HEADER: u8 = b'X';
/// Records of all later entries.
const PAX_GLOBAL_HEADER: u8 = b'g';
/// The name of the next entry.
const GNU_LONG_NAME: u8 = b'L';
/// The link target of the next entry.
const GNU_LONG_LINK: u8 = b'K';
/// A file with holes.
const GNU_SPARSE: u8 = b'S';
/// The label of the archive, which is not an entry.
const GNU_VOLUME_LABEL: u8 = b'V';
/// A folder of an incremental dump, with the names in it.
const GNU_DUMP_DIRECTORY: u8 = b'D';
/// The rest of a file that starts in another volume.
const GNU_CONTINUED: u8 = b'M';
/// A Solaris access control list of the next entry, which is not POSIX and not restored.
const SUN_ACL: u8 = b'A';
/// A file of which only the attributes have changed since another dump.
const STAR_INODE: u8 = b'I';

/// Why a part of a file is refused.
const CONTINUED: &str = "it is the rest of a file that starts in another volume of the archive: \
    unpack all volumes together with GNU tar";

/// The largest extended header or long name, in bytes.
const MAX_EXTENSION: u64 = 4 << 20;

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
            match header.type_byte {
                PAX_HEADER | SUN_PAX_HEADER | PAX_GLOBAL_HEADER | GNU_LONG_NAME | GNU_LONG_LINK => {
                    self.read_extension(&header, &mut extension)
                        .map_err(read_error)?;
                    is_extended |= header.type_byte != PAX_GLOBAL_HEADER;
                }
                GNU_VOLUME_LABEL | SUN_ACL => {
                    self.expect_data(header.size)?;
                    self.skip_data().map_err(read_error)?;
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

    /// Announces the data of an entry.
    fn expect_data(&mut self, bytes: u64) -> Result<(), Error> {
        if i64::try_from(bytes).is_err() {
            return Err(Error::corrupt("a size is out of range"));
        }
        self.remaining = bytes;
        self.padding = padding(bytes);
        Ok(())
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
        match header.type_byte {
            GNU_LONG_NAME => extension.path = Some(name()),
            GNU_LONG_LINK => extension.link = Some(name()),
            PAX_GLOBAL_HEADER => pax::parse(&text, |key, value| extension.set_global(key, value))?,
            _ => pax::parse(&text, |key, value| extension.set(key, value))?,
        }
        Ok(())
    }

    fn entry(&mut self, header: HeaderFields, mut extension: Extension) -> Result<TarEntry, Error> {
        let mut path = extension.path.take().unwrap_or(header.name);
        let kind = entry_kind(header.type_byte, &path)?;
        if extension.is_continued {
            return Err(Error::hostile(&path, CONTINUED));
        }
        let data = extension.size.unwrap_or(header.size);
        let stored = match kind {
            EntryKind::File => data,
            _ => 0,
        };
        let is_plain_directory = header.type_byte == DIRECTORY;
        self.expect_data(match kind {
            EntryKind::File => stored,
            // Dumps store the names in the folder after it; a size without data is an old habit.
            EntryKind::Directory if !is_plain_directory => data,
            _ => 0,
        })
        .map_err(|_| Error::hostile(&path, "its size is out of range"))?;
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
            stored: if kind == EntryKind::File {
                self.remaining
            } else {
                0
            },
            segments,
            acls: extension.acls,
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

/// Returns the kind of an entry. Devices and pipes are refused, and so is what another archive is
/// needed for.
///
/// As POSIX says, an entry of an unknown type is a regular file. One whose name ends in a slash is
/// a folder, as in the time before POSIX.
fn entry_kind(type_byte: u8, path: &[u8]) -> Result<EntryKind, Error> {
    let refused = |reason| Err(Error::hostile(path, reason));
    match type_byte {
        b'1' => Ok(EntryKind::HardLink),
        b'2' => Ok(EntryKind::Symlink),
        DIRECTORY | GNU_DUMP_DIRECTORY => Ok(EntryKind::Directory),
        b'3' | b'4' => refused("it is a device"),
        b'6' => refused("it is a named pipe"),
        GNU_CONTINUED => refused(CONTINUED),
        STAR_INODE => refused(
            "its contents are not in the archive, which holds only changes since another one",
        ),
        GNU_SPARSE => Ok(EntryKind::File),
        _ if path.ends_with(b"/") => Ok(EntryKind::Directory),
        _ => Ok(EntryKind::File),
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
