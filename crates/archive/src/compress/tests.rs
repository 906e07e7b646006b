//! Every block comes back as it went in, through a decoder that is not the encoder's.

use std::io::Read as _;

use super::*;

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::new();
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Compresses, unpacks with an independent run behind it, and returns the compressed size.
fn round_trip(raw: &[u8]) -> usize {
    let mut sizes = Vec::new();
    for level in [1, 6, 9] {
        let mut compressor = Compressor::new(level);
        let mut packed = Vec::new();
        // What was compressed before must not show.
        compressor.block(&noise(100_000, 99), &mut packed).unwrap();
        compressor.block(raw, &mut packed).unwrap();
        sizes.push(packed.len());
        packed.extend_from_slice(&FINAL_RUN);
        let mut found = Vec::new();
        flate2::read::DeflateDecoder::new(packed.as_slice())
            .read_to_end(&mut found)
            .unwrap();
        assert!(
            found == raw,
            "level {level}: {} bytes of {}",
            found.len(),
            raw.len()
        );
    }
    sizes[1]
}

#[test]
fn blocks_of_every_kind_come_back() {
    round_trip(b"");
    round_trip(b"x");
    round_trip(&vec![0; BLOCK]);
    round_trip(&b"some text that repeats itself, ".repeat(20_000));
    for length in [1, 7, 8, 47, 65_535, 65_536, 65_537, 131_071, BLOCK] {
        round_trip(&noise(length, length as u64));
    }
}

#[test]
fn repeats_and_zeros_between_noise_are_found() {
    let mut raw = Vec::new();
    for number in 0..120 {
        raw.extend_from_slice(&noise(5000 + number * 13, 7 + number as u64));
        raw.resize(raw.len().next_multiple_of(4096), 0);
        if number % 5 == 0 {
            // A repeat at an odd place.
            let from = raw.len() - 3001;
            let again = raw[from..from + 700 + number].to_vec();
            raw.extend_from_slice(&again);
        }
    }
    raw.truncate(BLOCK);
    let zeros = raw.iter().filter(|&&byte| byte == 0).count();
    let size = round_trip(&raw);
    assert!(
        size < raw.len() - zeros + raw.len() / 100,
        "{size} of {} with {zeros} zeros",
        raw.len()
    );
}

#[test]
fn every_length_and_distance_of_a_repeat_is_coded() {
    for (number, length) in (16..600).chain([65_000, 70_000]).enumerate() {
        let distance = [1, 2, 3, 4, 5, 7, 9, 100, 257, 1025, 8193, 24_577, 32_768][number % 13];
        let mut raw = noise(70_001, length as u64);
        for _ in 0..length {
            raw.push(raw[raw.len() - distance]);
        }
        raw.extend_from_slice(&noise(70_000, 3));
        let mut packed = Vec::new();
        Repeats::new().code(&raw, 0, &mut packed);
        packed.extend_from_slice(&FINAL_RUN);
        let mut found = Vec::new();
        flate2::read::DeflateDecoder::new(packed.as_slice())
            .read_to_end(&mut found)
            .unwrap();
        assert!(found == raw, "length {length}, distance {distance}");
        // A repeat of some hundred bytes is found sooner or later, and then widened to its whole.
        if length >= 48 + 64 {
            assert!(
                packed.len() < raw.len() - length + 300 + length / 64,
                "length {length}, distance {distance}"
            );
        }
    }
}

#[test]
fn noise_grows_by_next_to_nothing() {
    let raw = noise(BLOCK, 5);
    assert!(round_trip(&raw) < raw.len() + raw.len() / 1000);
}
