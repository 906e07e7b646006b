//! Proves an archive whole: its hash, every checksum in it, and every entry to its end.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;

use crate::digest::Sha256;
use crate::gunzip::{Front, check_hash, check_size};
use crate::tar_format::{Kind, TapeReader, read_error};
use crate::{Control, Error, Expected, VerifySummary};

/// Reads an archive to its last byte: SHA-256, CRC-32 and length of every gzip member, every tar entry.
///
/// Progress counts bytes of the archive.
///
/// # Errors
///
/// [`Error::HashMismatch`] and [`Error::Corrupt`] for an archive that is not what was written,
/// [`Error::Hostile`] for entries that no archive of ours holds, [`Error::Io`] if it cannot be read,
/// [`Error::Cancelled`].
pub fn verify(
    archive: &File,
    expected: Option<&Expected>,
    control: &Control,
) -> Result<VerifySummary, Error> {
    let size = archive_size(archive)?;
    verify_stream(Front::new(archive, control), size, expected, control)
}

/// Does what [`verify`] does with an archive of `size` bytes that can only be read from its front, once.
///
/// # Errors
///
/// As [`verify`]. An error of `archive` comes back as [`Error::Io`], so it must not be one of the kinds
/// that mean damage: [`io::ErrorKind::UnexpectedEof`], `InvalidData`, `InvalidInput`.
pub fn verify_stream(
    archive: impl Read,
    size: u64,
    expected: Option<&Expected>,
    control: &Control,
) -> Result<VerifySummary, Error> {
    control.restart();
    control.set_totals(0, size);
    if let Some(expected) = expected {
        check_size(size, expected)?;
    }
    let passage = Rc::new(RefCell::new(Passage {
        archive,
        hash: Sha256::new(),
        bytes: 0,
        control,
    }));
    let read = read_all(Shared(Rc::clone(&passage)), control);
    // The reader inside is gone.
    let mut passage = Rc::try_unwrap(passage)
        .map_err(|_| Error::corrupt("its end was not reached"))?
        .into_inner();
    let damage = match read {
        Err(damage @ (Error::Corrupt { .. } | Error::Hostile { .. })) => Some(damage),
        other => {
            let verified = other?;
            let archive_bytes = passage.bytes;
            let sha256 = passage.hash.finish();
            if let Some(expected) = expected {
                check_size(archive_bytes, expected)?;
                check_hash(&sha256, expected)?;
            }
            return Ok(VerifySummary {
                sha256,
                archive_bytes,
                ..verified
            });
        }
    };
    if let Some(expected) = expected {
        // The hash tells more than where the damage happened to show.
        io::copy(&mut passage, &mut io::sink()).map_err(read_error)?;
        check_size(passage.bytes, expected)?;
        check_hash(&passage.hash.finish(), expected)?;
    }
    Err(damage.unwrap_or_else(|| Error::corrupt("it cannot be read")))
}

/// Counts and hashes what passes.
struct Passage<'a, R> {
    archive: R,
    hash: Sha256,
    bytes: u64,
    control: &'a Control,
}

impl<R: Read> Read for Passage<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.control.is_cancelled() {
            return Err(io::Error::other(Error::Cancelled));
        }
        let read = loop {
            match self.archive.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.hash.update(&buffer[..read]);
        self.bytes += read as u64;
        self.control.add_bytes(read as u64);
        Ok(read)
    }
}

/// A passage that is looked at again once its reader has given up.
struct Shared<R>(Rc<RefCell<R>>);

impl<R: Read> Read for Shared<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buffer)
    }
}

fn read_all(archive: impl Read, control: &Control) -> Result<VerifySummary, Error> {
    const IN: usize = 256 << 10;
    const OUT: usize = 128 << 10;
    let mut verified = VerifySummary {
        sha256: [0; 32],
        archive_bytes: 0,
        source_bytes: 0,
        files: 0,
        entries: 0,
    };
    let packed = BufReader::with_capacity(IN, archive);
    let tar = BufReader::with_capacity(OUT, MultiGzDecoder::new(packed));
    let mut tape = TapeReader::new(tar);
    while let Some(entry) = tape.next_entry()? {
        control.check()?;
        verified.entries += 1;
        match entry.kind {
            Kind::File => {
                verified.files += 1;
                verified.source_bytes += entry.size;
                control.add_file();
            }
            Kind::HardLink => {
                verified.files += 1;
                control.add_file();
            }
            Kind::Directory | Kind::Symlink => {}
        }
        while !tape.data()?.is_empty() {
            control.check()?;
        }
    }
    Ok(verified)
}

pub(crate) fn archive_size(archive: &File) -> Result<u64, Error> {
    let metadata = archive.metadata();
    let metadata = metadata.map_err(|error| Error::io("read", Path::new("the archive"), error))?;
    Ok(metadata.len())
}
