//! Proves an archive whole: its hash, every checksum in it, and every entry to its end.

use std::cell::RefCell;
use std::fs::File;
use std::path::Path;
use std::rc::Rc;

use crate::digest::Sha256;
use crate::gunzip::{Front, check_hash, check_size, sha256};
use crate::tape::{Kind, TapeReader};
use crate::{Control, Error, Expected, Verified};

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
) -> Result<Verified, Error> {
    let size = archive_size(archive)?;
    control.restart();
    control.set_totals(0, size);
    if let Some(expected) = expected {
        check_size(size, expected)?;
    }
    let hash = Rc::new(RefCell::new(Sha256::new()));
    let front = Front::new(archive, control).hashed(Rc::clone(&hash));
    let read = read_all(front, control);
    if let (Err(Error::Corrupt { .. } | Error::Hostile { .. }), Some(expected)) = (&read, expected)
    {
        // The hash tells more than where the damage happened to show.
        check_hash(&sha256(archive, control)?, expected)?;
    }
    let mut verified = read?;
    // The reader inside has reached the end of the file, and is gone.
    verified.sha256 = Rc::try_unwrap(hash)
        .map_err(|_| Error::corrupt("its end was not reached"))?
        .into_inner()
        .finish();
    verified.archive_bytes = size;
    if let Some(expected) = expected {
        check_hash(&verified.sha256, expected)?;
    }
    Ok(verified)
}

fn read_all(front: Front<'_>, control: &Control) -> Result<Verified, Error> {
    let mut verified = Verified {
        sha256: [0; 32],
        archive_bytes: 0,
        source_bytes: 0,
        files: 0,
        entries: 0,
    };
    let mut tape = TapeReader::new(front.gunzip());
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
