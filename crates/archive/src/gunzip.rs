//! Reads an archive's file from its front, and unpacks it, checked on the way out.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;

use flate2::bufread::MultiGzDecoder;

use crate::digest::Sha256;
use crate::error::Error;
use crate::{Control, Expected};

/// Reads a file from its front without moving its cursor, which others may share.
pub(crate) struct Front<'a> {
    file: &'a File,
    at: u64,
    control: &'a Control,
}

impl<'a> Front<'a> {
    pub(crate) fn new(file: &'a File, control: &'a Control) -> Self {
        Self {
            file,
            at: 0,
            control,
        }
    }

    /// Unpacks what is read, every gzip member with its CRC and length checked.
    pub(crate) fn gunzip(self) -> BufReader<MultiGzDecoder<BufReader<Self>>> {
        const IN: usize = 256 << 10;
        const OUT: usize = 128 << 10;
        BufReader::with_capacity(OUT, MultiGzDecoder::new(BufReader::with_capacity(IN, self)))
    }
}

impl Read for Front<'_> {
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

/// Hashes a whole file; progress counts its bytes.
pub(crate) fn sha256(file: &File, control: &Control) -> Result<[u8; 32], Error> {
    const CHUNK: usize = 512 << 10;
    let mut hash = Sha256::new();
    let mut front = Front::new(file, control);
    let mut buffer = vec![0; CHUNK];
    loop {
        match front
            .read(&mut buffer)
            .map_err(crate::tar_format::read_error)?
        {
            0 => return Ok(hash.finish()),
            read => {
                hash.update(&buffer[..read]);
                control.add_bytes(read as u64);
            }
        }
    }
}

/// Compares the size of the file with the one on record.
pub(crate) fn check_size(found: u64, expected: &Expected) -> Result<(), Error> {
    if found == expected.archive_bytes {
        return Ok(());
    }
    let wanted = expected.archive_bytes;
    Err(Error::corrupt(format!(
        "it has {found} bytes instead of {wanted}"
    )))
}

/// Compares a hash with the one on record.
pub(crate) fn check_hash(found: &[u8; 32], expected: &Expected) -> Result<(), Error> {
    if *found == expected.sha256 {
        return Ok(());
    }
    Err(Error::HashMismatch {
        expected: hex::encode(expected.sha256),
        found: hex::encode(found),
    })
}
