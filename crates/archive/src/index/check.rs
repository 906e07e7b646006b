//! Checks an index that can only be read from its front, once: its own checksum, and what it says of its archive.

use std::io::{self, Read};
use std::path::Path;

use super::{MAGIC, TRAILER};
use crate::Error;
use crate::digest::Sha256;

/// The hash of an index stands behind everything that it is the hash of.
const HASH: usize = 32;

/// What a sound index says of its archive.
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

/// Reads an index to its last byte, with the memory of a buffer.
///
/// # Errors
///
/// [`Error::Corrupt`] for what is no index, or not as it was written; [`Error::Io`] if it cannot be read.
pub fn check_index(mut index: impl Read) -> Result<CheckedIndex, Error> {
    let bad = |reason: &str| Error::corrupt(format!("its index is damaged: {reason}"));
    let mut hash = Sha256::new();
    // What may be the trailer is held back until more has come.
    let mut held: Vec<u8> = Vec::new();
    let mut buffer = vec![0; 256 << 10];
    let mut is_first = true;
    loop {
        let read = match index.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other.map_err(|error| Error::io("read", Path::new("the index"), error))?,
        };
        if read == 0 {
            break;
        }
        held.extend_from_slice(&buffer[..read]);
        if is_first && held.len() >= MAGIC.len() {
            is_first = false;
            if !held.starts_with(MAGIC) {
                return Err(bad("it is no index of a version that is known"));
            }
        }
        let done = held.len().saturating_sub(TRAILER);
        hash.update(&held[..done]);
        held.drain(..done);
    }
    if is_first || held.len() < TRAILER {
        return Err(bad("it is too short"));
    }
    let (said, own) = held.split_at(TRAILER - HASH);
    hash.update(said);
    if own != hash.finish() {
        return Err(bad("its checksum is wrong"));
    }
    let (fields, archive) = said.split_at(TRAILER - 2 * HASH);
    let field = |at: usize| {
        let bytes = &fields[8 * at..8 * at + 8];
        bytes
            .iter()
            .rev()
            .fold(0, |number, &byte| number << 8 | u64::from(byte))
    };
    let mut archive_sha256 = [0; 32];
    archive_sha256.copy_from_slice(archive);
    Ok(CheckedIndex {
        entries: field(0),
        files: field(1),
        archive_bytes: field(5),
        archive_sha256,
    })
}
