//! Every block is decompressed to its original bytes by an independent decoder.

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

/// Compresses at several levels, decompresses, compares, and returns the compressed size at level
/// 6.
fn round_trip(raw: &[u8]) -> usize {
    let mut sizes = Vec::new();
    for level in [1, 2, 5, 6, 9, 0] {
        let mut compressor = Compressor::new(level);
        let mut packed = Vec::new();
        // An earlier block must not influence the next one.
        compressor
            .compress(&noise(100_000, 99), &mut packed)
            .unwrap();
        compressor.compress(raw, &mut packed).unwrap();
        sizes.push(packed.len());
        packed.extend_from_slice(&FINAL_BLOCK);
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
    sizes[3]
}

#[test]
fn blocks_of_every_kind_survive_a_round_trip() {
    round_trip(b"");
    round_trip(b"x");
    round_trip(&vec![0; BLOCK_BYTES]);
    round_trip(&b"some text that repeats itself, ".repeat(20_000));
    for length in [1, 7, 8, 47, 65_535, 65_536, 65_537, 131_071, BLOCK_BYTES] {
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
            // A repeat at an unaligned position.
            let from = raw.len() - 3001;
            let again = raw[from..from + 700 + number].to_vec();
            raw.extend_from_slice(&again);
        }
    }
    raw.truncate(BLOCK_BYTES);
    let zeros = raw.iter().filter(|&&byte| byte == 0).count();
    let size = round_trip(&raw);
    assert!(
        size < raw.len() - zeros + raw.len() / 100,
        "{size} of {} with {zeros} zeros",
        raw.len()
    );
}

#[test]
fn repeats_of_every_length_and_distance_are_encoded() {
    for (number, length) in (16..600).chain([65_000, 70_000]).enumerate() {
        let distance = [1, 2, 3, 4, 5, 7, 9, 100, 257, 1025, 8193, 24_577, 32_768][number % 13];
        let mut raw = noise(70_001, length as u64);
        for _ in 0..length {
            raw.push(raw[raw.len() - distance]);
        }
        raw.extend_from_slice(&noise(70_000, 3));
        let mut packed = Vec::new();
        RepeatEncoder::new().encode(&raw, 0, &mut packed);
        packed.extend_from_slice(&FINAL_BLOCK);
        let mut found = Vec::new();
        flate2::read::DeflateDecoder::new(packed.as_slice())
            .read_to_end(&mut found)
            .unwrap();
        assert!(found == raw, "length {length}, distance {distance}");
        // A repeat of about a hundred bytes is always found, and extended to its full length.
        if length >= 48 + 64 {
            assert!(
                packed.len() < raw.len() - length + 300 + length / 64,
                "length {length}, distance {distance}"
            );
        }
    }
}

#[test]
fn noise_grows_by_less_than_a_thousandth() {
    let raw = noise(BLOCK_BYTES, 5);
    assert!(round_trip(&raw) < raw.len() + raw.len() / 1000);
}

/// Returns text with repeated words, some numbers, and some noise.
fn mixture(length: usize, seed: u64) -> Vec<u8> {
    let random = noise(length + 8, seed);
    let mut bytes = Vec::new();
    for (number, &byte) in random.iter().enumerate() {
        match byte {
            ..160 => bytes.extend_from_slice(
                &b"the quick brown fox jumps over it all"[byte as usize % 29..][..8],
            ),
            160..250 => bytes.extend_from_slice(number.to_string().as_bytes()),
            _ => bytes.extend_from_slice(&random[number.min(length)..][..8]),
        }
        if bytes.len() >= length {
            break;
        }
    }
    bytes.truncate(length);
    bytes
}

fn whole_streams(raw: &[u8]) -> Vec<Vec<u8>> {
    use std::io::Write as _;
    let mut streams = Vec::new();
    for level in CompressionLvl::iter() {
        let mut deflate = Deflate::new(level);
        let mut stream = vec![0; deflate.deflate_compress_bound(raw.len())];
        let length = deflate.deflate_compress(raw, &mut stream).unwrap();
        stream.truncate(length);
        streams.push(stream);
    }
    // Another compressor. Its level 0 stores, and its short streams use fixed codes.
    for level in [0, 1, 4, 9] {
        let level = flate2::Compression::new(level);
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
        encoder.write_all(raw).unwrap();
        streams.push(encoder.finish().unwrap());
    }
    streams
}

#[test]
fn streams_of_different_compressors_can_be_continued() {
    let mut finder = FinalBlockFinder::new();
    let mut padding_seen = [false; 8];
    for length in (0..40).chain([99, 5000, 20_000, 70_001, 400_000]) {
        for raw in [
            mixture(length, length as u64),
            noise(length, 3),
            vec![7; length],
        ] {
            for (number, stream) in whole_streams(&raw).into_iter().enumerate() {
                let mut out = b"before".to_vec();
                out.extend_from_slice(&stream);
                finder.clear_final_flag(&mut out, 6).unwrap();
                assert!(out.len() <= 6 + stream.len() + 5);
                padding_seen[out.len() - stream.len() - 10] = true;
                // Two copies, to check that the second begins where the first ends.
                let mut twice = out[6..].to_vec();
                twice.extend_from_slice(&out[6..]);
                twice.extend_from_slice(&FINAL_BLOCK);
                let mut found = Vec::new();
                flate2::read::DeflateDecoder::new(twice.as_slice())
                    .read_to_end(&mut found)
                    .unwrap();
                assert!(
                    found == [raw.as_slice(), &raw].concat(),
                    "stream {number} of {length} bytes"
                );
            }
        }
    }
    assert!(padding_seen[0] && padding_seen[1]);
}

#[test]
fn incomplete_and_invalid_streams_are_refused() {
    let mut finder = FinalBlockFinder::new();
    let raw = mixture(3000, 4);
    for stream in whole_streams(&raw) {
        for cut in 0..stream.len() {
            assert!(
                finder
                    .clear_final_flag(&mut stream[..cut].to_vec(), 0)
                    .is_err(),
                "{cut}"
            );
        }
        let mut longer = stream.clone();
        longer.push(0);
        assert!(finder.clear_final_flag(&mut longer, 0).is_err());
    }
    // Damage may stay unnoticed here, but it never causes a panic.
    for stream in whole_streams(&mixture(900, 5)) {
        for bit in 0..stream.len() * 8 {
            let mut damaged = stream.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let _ = finder.clear_final_flag(&mut damaged, 0);
        }
        let _ = finder.clear_final_flag(&mut noise(stream.len(), stream.len() as u64), 0);
    }
}

#[test]
fn level_0_stores_every_block() {
    let raw = b"some text that repeats itself, ".repeat(30_000);
    let (mut stored, mut packed) = (Vec::new(), Vec::new());
    Compressor::new(0).compress(&raw, &mut stored).unwrap();
    Compressor::new(1).compress(&raw, &mut packed).unwrap();
    assert!((raw.len()..raw.len() + 200).contains(&stored.len()));
    assert!(packed.len() < raw.len() / 50);
}
