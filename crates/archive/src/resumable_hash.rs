//! A SHA-256 whose state can be kept, so that a later one continues after the same bytes.

use sha2::block_api::compress256;

/// The bytes that SHA-256 processes together.
pub(crate) const CHUNK_BYTES: usize = 64;
/// The state before the first byte. See FIPS 180-4, 5.3.3.
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// A running SHA-256.
#[derive(Debug, Clone)]
pub(crate) struct ResumableSha256 {
    state: [u32; 8],
    /// The bytes since the last whole chunk.
    rest: [u8; CHUNK_BYTES],
    bytes: u64,
}

impl ResumableSha256 {
    pub(crate) fn new() -> Self {
        Self {
            state: INITIAL,
            rest: [0; CHUNK_BYTES],
            bytes: 0,
        }
    }

    /// Continues after `bytes` bytes. `state` is that of [`Self::state`], and `rest` are the bytes
    /// after the last whole chunk.
    pub(crate) fn resume(state: &[u8; 32], bytes: u64, rest: &[u8]) -> Self {
        let mut hash = Self::new();
        for (word, part) in hash.state.iter_mut().zip(state.as_chunks::<4>().0) {
            *word = u32::from_be_bytes(*part);
        }
        hash.rest[..rest.len()].copy_from_slice(rest);
        hash.bytes = bytes;
        hash
    }

    fn rest_bytes(&self) -> usize {
        (self.bytes % CHUNK_BYTES as u64) as usize
    }

    /// Returns the state after the last whole chunk. The bytes after it are not in it.
    pub(crate) fn state(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (part, word) in bytes.chunks_exact_mut(4).zip(self.state) {
            part.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        let begun = self.rest_bytes();
        self.bytes = self.bytes.wrapping_add(bytes.len() as u64);
        if begun > 0 {
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK_BYTES - begun));
            self.rest[begun..begun + now.len()].copy_from_slice(now);
            if begun + now.len() < CHUNK_BYTES {
                return;
            }
            compress256(&mut self.state, std::slice::from_ref(&self.rest));
            bytes = later;
        }
        let (chunks, rest) = bytes.as_chunks::<CHUNK_BYTES>();
        compress256(&mut self.state, chunks);
        self.rest[..rest.len()].copy_from_slice(rest);
    }

    pub(crate) fn finish(mut self) -> [u8; 32] {
        let bits = self.bytes.wrapping_mul(8);
        let length_at = CHUNK_BYTES - size_of::<u64>();
        let mut end = [0; 2 * CHUNK_BYTES];
        end[0] = 0x80;
        let rest = self.rest_bytes();
        let zeros_until = if rest < length_at {
            length_at
        } else {
            CHUNK_BYTES + length_at
        };
        let padding = zeros_until - rest;
        end[padding..padding + size_of::<u64>()].copy_from_slice(&bits.to_be_bytes());
        self.update(&end[..padding + size_of::<u64>()]);
        self.state()
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn every_length_and_every_split_give_the_hash_of_sha2() {
        let bytes: Vec<u8> = (0..300_u32).map(|number| (number * 7) as u8).collect();
        for length in 0..bytes.len() {
            let expected: [u8; 32] = Sha256::digest(&bytes[..length]).into();
            for split in (0..=length).step_by(1 + length / 20) {
                let mut hash = ResumableSha256::new();
                hash.update(&bytes[..split]);
                hash.update(&bytes[split..length]);
                assert_eq!(hash.finish(), expected, "{length} bytes, split at {split}");
            }
        }
    }

    #[test]
    fn the_state_changes_only_with_whole_chunks() {
        let mut hash = ResumableSha256::new();
        let before = hash.state();
        hash.update(&[1; CHUNK_BYTES - 1]);
        assert_eq!(hash.state(), before);
        hash.update(&[1]);
        assert_ne!(hash.state(), before);
    }
}
