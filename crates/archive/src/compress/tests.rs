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
    let lengths = (16..600).chain((600..5000).step_by(41));
    for (number, length) in lengths.chain([65_000, 70_000]).enumerate() {
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
        // A run of one byte is always found. Another repeat is found if it has a kilobyte, and is
        // extended to its full length. 300 bytes are for the headers of stored blocks.
        let late = if distance == 1 { 72 } else { 1100 };
        if length >= late {
            let most = raw.len() - length + 300 + length / 64;
            assert!(
                packed.len() < most,
                "length {length}, distance {distance}: {} of {most}",
                packed.len()
            );
        }
    }
}

/// Compresses with libdeflate alone, which has no pieces and no samples.
fn deflated_size(raw: &[u8], level: i32) -> usize {
    let mut deflate = Deflate::new(CompressionLvl::new(level).unwrap());
    let mut out = vec![0; deflate.deflate_compress_bound(raw.len())];
    deflate.deflate_compress(raw, &mut out).unwrap()
}

/// Returns records of `period` bytes: noise, but text in `text` bytes from `offset` on.
fn records(period: usize, offset: usize, text: usize) -> Vec<u8> {
    let mut raw = noise(BLOCK_BYTES, period as u64);
    let words = b"the quick brown fox jumps over the lazy dog, ".repeat(period / 45 + 1);
    for record in raw.chunks_mut(period) {
        for (at, word) in words[..text].iter().enumerate() {
            if let Some(byte) = record.get_mut((offset + at) % period) {
                *byte = *word;
            }
        }
    }
    raw
}

#[test]
fn no_period_of_records_hides_compressible_bytes_from_the_sample() {
    assert!(is_dense(&noise(PIECE_BYTES, 1)));
    assert!(!is_dense(&mixture(PIECE_BYTES, 1)));
    for period in [
        64_usize, 100, 256, 480, 509, 512, 513, 544, 1024, 1536, 4096, 8192,
    ] {
        // A quarter of the bytes is text, wherever it lies.
        for offset in (0..period).step_by(period.div_ceil(32)) {
            let raw = records(period, offset, period / 4);
            for piece in raw.chunks(PIECE_BYTES).step_by(5) {
                assert!(!is_dense(piece), "period {period}, offset {offset}");
            }
        }
    }
    // Zeros do not count, so sectors that are padded are dense.
    for zeros in [0, 512, 2048, 3500] {
        let mut raw = noise(PIECE_BYTES, 3);
        for sector in raw.chunks_mut(4096) {
            sector[..zeros].fill(0);
        }
        assert!(is_dense(&raw), "{zeros}");
    }
    // Other zeros do: here they are the upper halves of random numbers.
    let mut raw = noise(PIECE_BYTES, 3);
    raw.iter_mut().step_by(2).for_each(|byte| *byte = 0);
    assert!(!is_dense(&raw));
    assert!(!is_dense(&vec![0; PIECE_BYTES]));
    assert!(!is_dense(&vec![7; PIECE_BYTES]));
    assert!(!is_dense(&noise(1000, 1)));
    assert!(!is_dense(b""));
}

#[test]
fn what_looks_dense_but_is_compressible_loses_little() {
    let mut worst = 0.0_f64;
    for period in [64, 509, 512, 576, 1018, 1024, 4096, 5000] {
        for share in [4, 8, 12, 16, 24] {
            let raw = records(period, period / 3, period / share);
            worst = worst.max(round_trip(&raw) as f64 / deflated_size(&raw, 6) as f64);
        }
    }
    assert!(worst < 1.1, "{worst}");
}

#[test]
fn repeats_in_step_with_the_probes_are_found() {
    // Only some bytes of each record are new. They lie where a probe might always be.
    for period in [4072, 4096, 8144, 8192, 16_384, 20_000] {
        for gap in [509, 512, 1018, 1024] {
            let mut raw = noise(BLOCK_BYTES, 17);
            for at in period..raw.len() {
                if at % gap >= 64 {
                    raw[at] = raw[at - period];
                }
            }
            let (size, deflated) = (round_trip(&raw), deflated_size(&raw, 6));
            assert!(
                size < deflated + raw.len() / 25,
                "period {period}, gap {gap}: {size}, {deflated}"
            );
        }
    }
}

#[test]
fn names_in_the_headers_of_jars_are_found() {
    let (mut raw, mut names) = (Vec::new(), 0);
    for number in 0..300 {
        let name = format!("org/example/server/plugin/handlers/events/Class{number}.class");
        names += name.len();
        raw.extend_from_slice(b"PK\x03\x04");
        raw.extend_from_slice(name.as_bytes());
        raw.extend_from_slice(&noise(2000 + number * 7 % 1000, number as u64 + 1));
    }
    assert!(is_dense(&raw[..PIECE_BYTES]));
    let size = round_trip(&raw);
    assert!(size < raw.len() - names / 2, "{size} of {}", raw.len());
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
