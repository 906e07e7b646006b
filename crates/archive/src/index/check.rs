//! Checks an index that is read once, as a stream: its own checksum, and what it states of its
//! archive.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

use super::frames::{damaged, read_failed, unknown};
use super::{HASH_BYTES, IndexTotals, IndexVersion, MAGIC_BYTES};
use crate::Error;

/// What a whole index states of its archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckedIndex {
    /// Entries of any kind.
    pub entries: u64,
    /// Regular files, each hard link counted.
    pub files: u64,
    /// Size of the archive in bytes.
    pub archive_bytes: u64,
    /// SHA-256 of the archive.
    pub archive_sha256: [u8; 32],
}

/// Reads an index to its last byte and checks it. Memory is one buffer.
///
/// # Errors
///
/// [`Error::Corrupt`] if it is damaged or not an index; [`Error::Io`] if it cannot be read.
pub fn check_index(mut index: impl Read) -> Result<CheckedIndex, Error> {
    let mut hash = Sha256::new();
    // The last bytes read so far, which may be the trailer.
    let mut tail: Vec<u8> = Vec::new();
    let mut buffer = vec![0; 256 << 10];
    let mut version = None;
    loop {
        let read = match index.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other.map_err(read_failed)?,
        };
        if read == 0 {
            break;
        }
        tail.extend_from_slice(&buffer[..read]);
        let Some((magic, _)) = tail.split_first_chunk::<MAGIC_BYTES>() else {
            continue;
        };
        let known = match version {
            Some(known) => known,
            None => *version.insert(IndexVersion::parse(magic).ok_or_else(unknown)?),
        };
        let before_tail = tail.len().saturating_sub(known.trailer_bytes());
        hash.update(&tail[..before_tail]);
        tail.drain(..before_tail);
    }
    let trailer_bytes = version.map(IndexVersion::trailer_bytes);
    let Some(length) = trailer_bytes.filter(|&length| tail.len() == length) else {
        return Err(damaged("it is too short"));
    };
    let (hashed, index_hash) = tail.split_at(length - HASH_BYTES);
    hash.update(hashed);
    if *index_hash != *hash.finalize() {
        return Err(damaged("its checksum is wrong"));
    }
    let (totals, archive_hash) = hashed.split_at(length - 2 * HASH_BYTES);
    let totals = IndexTotals::parse(totals);
    let mut archive_sha256 = [0; HASH_BYTES];
    archive_sha256.copy_from_slice(archive_hash);
    Ok(CheckedIndex {
        entries: totals.entries,
        files: totals.files,
        archive_bytes: totals.archive_bytes,
        archive_sha256,
    })
}
