//! Reads an archive file from its start, and decompresses or hashes it.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

use crate::read_at::ReadAt;
use crate::tar_format::{TAR_BLOCK, is_header, read_error};
use crate::{Control, Error, Expected};

/// The first bytes of a gzip member.
const GZIP_MAGIC: &[u8] = b"\x1f\x8b";
/// Bytes of the buffer before decompression.
const INPUT_BUFFER: usize = 256 << 10;
/// Bytes of the buffer after decompression.
const OUTPUT_BUFFER: usize = 128 << 10;

/// Returns the tar stream of an archive: of gzip members, whose CRC and length are checked, or of a
/// plain tar. Reading anything else fails with [`Error::OtherFormat`].
pub(crate) fn tar_stream<R: Read>(archive: R) -> TarStream<R> {
    TarStream(StreamState::New(Some(archive)))
}

/// A tar stream, of which the first read finds the format.
pub(crate) struct TarStream<R>(StreamState<R>);

enum StreamState<R> {
    /// `None` only while the format is looked up.
    New(Option<R>),
    Gzip(Box<BufReader<MultiGzDecoder<Input<R>>>>),
    Plain(Input<R>),
}

/// An archive whose first bytes were read before.
type Input<R> = BufReader<Chain<Cursor<Vec<u8>>, R>>;

impl<R: Read> TarStream<R> {
    /// Finds the format, at the first read.
    fn open(&mut self) -> io::Result<()> {
        let StreamState::New(archive) = &mut self.0 else {
            return Ok(());
        };
        let Some(mut archive) = archive.take() else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let mut start = Vec::new();
        archive
            .by_ref()
            .take(TAR_BLOCK as u64)
            .read_to_end(&mut start)?;
        let is_plain = is_plain_tar(&start);
        if let Some((format, remedy)) = other_format(&start).filter(|_| !is_plain) {
            return Err(io::Error::other(Error::OtherFormat { format, remedy }));
        }
        let input = BufReader::with_capacity(INPUT_BUFFER, Cursor::new(start).chain(archive));
        self.0 = if is_plain {
            StreamState::Plain(input)
        } else {
            let gzip = BufReader::with_capacity(OUTPUT_BUFFER, MultiGzDecoder::new(input));
            StreamState::Gzip(Box::new(gzip))
        };
        Ok(())
    }
}

impl<R: Read> BufRead for TarStream<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.open()?;
        match &mut self.0 {
            StreamState::New(_) => Ok(&[]),
            StreamState::Gzip(stream) => stream.fill_buf(),
            StreamState::Plain(stream) => stream.fill_buf(),
        }
    }

    fn consume(&mut self, amount: usize) {
        match &mut self.0 {
            StreamState::New(_) => {}
            StreamState::Gzip(stream) => stream.consume(amount),
            StreamState::Plain(stream) => stream.consume(amount),
        }
    }
}

impl<R: Read> Read for TarStream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.open()?;
        match &mut self.0 {
            StreamState::New(_) => Ok(0),
            StreamState::Gzip(stream) => stream.read(buffer),
            StreamState::Plain(stream) => stream.read(buffer),
        }
    }
}

/// Returns whether an archive starts with a tar header or with the empty block that ends a tar.
fn is_plain_tar(start: &[u8]) -> bool {
    let block = <&[u8; TAR_BLOCK]>::try_from(start);
    block.is_ok_and(|block| !block.starts_with(GZIP_MAGIC) && is_header(block))
}

/// Returns the format of a file that is neither gzip nor tar, and how to get a tar out of it.
fn other_format(start: &[u8]) -> Option<(&'static str, &'static str)> {
    let formats: [(&[u8], &str, &str); 12] = [
        (
            b"\x28\xb5\x2f\xfd",
            "compressed with zstd",
            "decompress it with `zstd -d`",
        ),
        (
            b"\xfd7zXZ\0",
            "compressed with xz",
            "decompress it with `xz -d`",
        ),
        (
            b"BZh",
            "compressed with bzip2",
            "decompress it with `bzip2 -d`",
        ),
        (
            b"\x04\x22\x4d\x18",
            "compressed with lz4",
            "decompress it with `lz4 -d`",
        ),
        (
            b"LZIP",
            "compressed with lzip",
            "decompress it with `lzip -d`",
        ),
        (
            b"\x89LZO\0",
            "compressed with lzop",
            "decompress it with `lzop -d`",
        ),
        (
            b"\x1f\x9d",
            "compressed with compress",
            "decompress it with `gzip -d`",
        ),
        (b"PK\x03\x04", "a ZIP archive", "unpack it with `unzip`"),
        (
            b"7z\xbc\xaf\x27\x1c",
            "a 7z archive",
            "unpack it with `7z x`",
        ),
        (b"Rar!\x1a\x07", "a RAR archive", "unpack it with `unrar x`"),
        (
            b"age-encryption.org/",
            "encrypted with age",
            "decrypt it with `age -d`",
        ),
        (b"07070", "a cpio archive", "unpack it with `cpio -i`"),
    ];
    let found = formats.iter().find(|(magic, ..)| start.starts_with(magic));
    found.map(|&(_, format, remedy)| (format, remedy))
}

/// Reads an archive from its start. A file's cursor, which others may share, is not moved.
///
/// Reading fails with [`Error::Cancelled`] once the control is cancelled.
pub(crate) struct ArchiveReader<'a> {
    archive: &'a dyn ReadAt,
    at: u64,
    size: u64,
    control: &'a Control,
}

impl<'a> ArchiveReader<'a> {
    /// Reads the first `size` bytes of an archive.
    pub(crate) fn new(archive: &'a dyn ReadAt, size: u64, control: &'a Control) -> Self {
        Self {
            archive,
            at: 0,
            size,
            control,
        }
    }
}

impl Read for ArchiveReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.control.is_cancelled() {
            return Err(io::Error::other(Error::Cancelled));
        }
        let left = usize::try_from(self.size - self.at).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        self.archive.fill(&mut buffer[..length], self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

/// Hashes a whole archive. Progress counts its bytes.
pub(crate) fn sha256(
    archive: &dyn ReadAt,
    size: u64,
    control: &Control,
) -> Result<[u8; 32], Error> {
    const CHUNK: usize = 512 << 10;
    let mut hash = Sha256::new();
    let mut reader = ArchiveReader::new(archive, size, control);
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = reader.read(&mut buffer).map_err(read_error)?;
        if read == 0 {
            return Ok(hash.finalize().into());
        }
        hash.update(&buffer[..read]);
        control.add_bytes(read as u64);
    }
}

/// Compares the size of an archive with the recorded one.
pub(crate) fn check_size(found: u64, expected: &Expected) -> Result<(), Error> {
    if found == expected.archive_bytes {
        return Ok(());
    }
    let wanted = expected.archive_bytes;
    Err(Error::corrupt(format!(
        "it has {found} bytes instead of {wanted}"
    )))
}

/// Compares the hash of an archive with the recorded one.
pub(crate) fn check_hash(found: &[u8; 32], expected: &Expected) -> Result<(), Error> {
    if *found == expected.sha256 {
        return Ok(());
    }
    Err(Error::HashMismatch {
        expected: hex::encode(expected.sha256),
        found: hex::encode(found),
    })
}
