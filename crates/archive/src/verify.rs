//! Verifies an archive completely: its hash, every checksum in it, and every entry to its end. What
//! a restore would refuse is refused here, too.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;

use sha2::{Digest, Sha256};

use crate::entry_check::EntryCheck;
use crate::gunzip::{ArchiveReader, check_hash, check_size, tar_stream};
use crate::pace::Pace;
use crate::read_at::ReadAt;
use crate::tar_format::{EntryKind, TarReader, read_error};
use crate::{Control, Error, Expected, VerifySummary};

/// Reads an archive to its last byte: SHA-256, CRC-32 and length of each gzip member, every tar
/// entry.
///
/// Progress counts bytes of the archive.
///
/// # Errors
///
/// [`Error::HashMismatch`] or [`Error::Corrupt`] if the archive is damaged, [`Error::Hostile`] for
/// entries that [`restore`](crate::restore()) refuses, [`Error::OtherFormat`] if it is no
/// `.tar.gz`, [`Error::Io`] if the archive cannot be read, [`Error::Cancelled`].
pub fn verify(
    archive: &File,
    expected: Option<&Expected>,
    control: &Control,
) -> Result<VerifySummary, Error> {
    let size = archive_size(archive)?;
    verify_stream(
        ArchiveReader::new(archive, size, control),
        size,
        expected,
        control,
    )
}

/// Verifies an archive of `size` bytes that is read once, as a stream. Otherwise the same as
/// [`verify`].
///
/// # Errors
///
/// The same as [`verify`]. An error of `archive` is returned as [`Error::Io`], so it must not be of
/// the kinds that mean damage: [`io::ErrorKind::UnexpectedEof`], `InvalidData`, `InvalidInput`.
pub fn verify_stream(
    mut archive: impl Read,
    size: u64,
    expected: Option<&Expected>,
    control: &Control,
) -> Result<VerifySummary, Error> {
    verify_reader(&mut archive, size, expected, control)
}

/// Implements [`verify_stream`]. It is not generic, so that the engine is compiled only once: in
/// this crate, with its optimisation.
fn verify_reader(
    archive: &mut dyn Read,
    size: u64,
    expected: Option<&Expected>,
    control: &Control,
) -> Result<VerifySummary, Error> {
    control.reset_done();
    control.set_totals(0, size);
    if let Some(expected) = expected {
        check_size(size, expected)?;
    }
    let reader = Rc::new(RefCell::new(HashingReader {
        archive,
        hash: Sha256::new(),
        bytes: 0,
        control,
        pace: Pace::new(),
    }));
    let outcome = read_all(SharedReader(Rc::clone(&reader)), control);
    // `read_all` has dropped its reference.
    let mut reader = Rc::try_unwrap(reader)
        .map_err(|_| Error::corrupt("its end was not reached"))?
        .into_inner();
    let is_damaged = matches!(
        outcome,
        Err(Error::Corrupt { .. } | Error::Hostile { .. } | Error::OtherFormat { .. })
    );
    if outcome.is_err() && !is_damaged {
        return outcome;
    }
    if is_damaged && expected.is_some() {
        // A hash mismatch says more than the place where the damage was noticed.
        io::copy(&mut reader, &mut io::sink()).map_err(read_error)?;
    }
    let archive_bytes = reader.bytes;
    let sha256 = reader.hash.finalize().into();
    if let Some(expected) = expected {
        check_size(archive_bytes, expected)?;
        check_hash(&sha256, expected)?;
    }
    Ok(VerifySummary {
        sha256,
        archive_bytes,
        ..outcome?
    })
}

/// Counts and hashes the bytes that are read.
struct HashingReader<'a, R> {
    archive: R,
    hash: Sha256,
    bytes: u64,
    control: &'a Control,
    pace: Pace,
}

impl<R: Read> Read for HashingReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.control.is_cancelled() {
            return Err(io::Error::other(Error::Cancelled));
        }
        self.pace.rest(self.control);
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

/// A reader whose owner uses it again after the decoder around it was dropped.
struct SharedReader<R>(Rc<RefCell<R>>);

impl<R: Read> Read for SharedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buffer)
    }
}

/// Reads every entry to its end. The hash and the size of the archive are left 0.
fn read_all(archive: impl Read, control: &Control) -> Result<VerifySummary, Error> {
    let mut summary = VerifySummary {
        sha256: [0; 32],
        archive_bytes: 0,
        source_bytes: 0,
        files: 0,
        entries: 0,
    };
    let mut tar = TarReader::new(tar_stream(archive));
    let mut check = EntryCheck::new();
    while let Some(entry) = tar.next_entry()? {
        control.check()?;
        check.next(&entry)?;
        summary.entries += 1;
        match entry.kind {
            EntryKind::File => {
                summary.files += 1;
                summary.source_bytes = summary.source_bytes.saturating_add(entry.size);
                control.add_file();
            }
            EntryKind::HardLink => {
                summary.files += 1;
                control.add_file();
            }
            EntryKind::Directory | EntryKind::Symlink => {}
        }
        while !tar.data()?.is_empty() {
            control.check()?;
        }
    }
    Ok(summary)
}

/// Returns the size of an archive in bytes.
pub(crate) fn archive_size(archive: &dyn ReadAt) -> Result<u64, Error> {
    let size = archive.size();
    size.map_err(|error| Error::io("read", Path::new("the archive"), error))
}
