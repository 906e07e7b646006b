//! Reads an archive file from its start, and decompresses or hashes it.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

use crate::tar_format::read_error;
use crate::{Control, Error, Expected};

/// Bytes of the buffer before decompression.
const INPUT_BUFFER: usize = 256 << 10;
/// Bytes of the buffer after decompression.
const OUTPUT_BUFFER: usize = 128 << 10;

/// The decompressed bytes of an archive.
pub(crate) type Gunzip<R> = BufReader<MultiGzDecoder<BufReader<R>>>;

/// Decompresses gzip members. CRC and length of each are checked.
pub(crate) fn gunzip<R: Read>(archive: R) -> Gunzip<R> {
    let input = BufReader::with_capacity(INPUT_BUFFER, archive);
    BufReader::with_capacity(OUTPUT_BUFFER, MultiGzDecoder::new(input))
}

/// Reads a file from its start without moving its cursor, which others may share.
///
/// Reading fails with [`Error::Cancelled`] once the control is cancelled.
pub(crate) struct ArchiveReader<'a> {
    file: &'a File,
    at: u64,
    control: &'a Control,
}

impl<'a> ArchiveReader<'a> {
    pub(crate) fn new(file: &'a File, control: &'a Control) -> Self {
        Self {
            file,
            at: 0,
            control,
        }
    }
}

impl Read for ArchiveReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.control.is_cancelled() {
            return Err(io::Error::other(Error::Cancelled));
        }
        let read = loop {
            match self.file.read_at(buffer, self.at) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.at += read as u64;
        Ok(read)
    }
}

/// Hashes a whole file. Progress counts its bytes.
pub(crate) fn sha256(file: &File, control: &Control) -> Result<[u8; 32], Error> {
    const CHUNK: usize = 512 << 10;
    let mut hash = Sha256::new();
    let mut reader = ArchiveReader::new(file, control);
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
