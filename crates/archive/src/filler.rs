//! Empty deflate blocks. They move what follows in a gzip stream to another offset, and have no
//! other meaning.

/// An empty stored block.
const FIVE: [u8; 5] = [0, 0, 0, 0xff, 0xff];
/// An empty block with fixed codes, and an empty stored one that ends it at a whole byte.
const SIX: [u8; 6] = [2, 0, 0, 0, 0xff, 0xff];

/// Returns empty deflate blocks of `length` bytes. `None` if there are none of that length: below
/// 20, there are only multiples of five, and of six, and their sums.
pub(crate) fn filler(length: usize) -> Option<Vec<u8>> {
    let sixes = length % FIVE.len();
    let fives = length.checked_sub(sixes * SIX.len())? / FIVE.len();
    let mut bytes = SIX.repeat(sixes);
    bytes.extend(FIVE.repeat(fives));
    Some(bytes)
}

/// Returns how much filler at the offset `at` makes what follows begin at the same place in a page
/// as the offset `wanted`.
pub(crate) fn filler_bytes(at: u64, wanted: u64, page: u64) -> u64 {
    let least = (wanted + page - at % page) % page;
    let is_possible = usize::try_from(least).is_ok_and(|length| filler(length).is_some());
    if is_possible { least } else { least + page }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn filler_of_every_length_decompresses_to_nothing() {
        for length in 0..9_000 {
            let Some(bytes) = filler(length) else {
                assert!(length < 20, "{length}");
                continue;
            };
            assert_eq!(bytes.len(), length);
            // Between two blocks with contents, and before the end.
            let stored = [0, 1, 0, 0xfe, 0xff, b'x'];
            let stream = [&stored[..], &bytes, &stored, &[3, 0]].concat();
            let mut text = String::new();
            let mut inflater = flate2::read::DeflateDecoder::new(stream.as_slice());
            inflater.read_to_string(&mut text).unwrap();
            assert_eq!(text, "xx", "{length}");
            assert_eq!(inflater.total_in(), stream.len() as u64);
        }
    }

    #[test]
    fn filler_leads_to_the_wanted_place_in_a_page() {
        for at in [10, 11, 4_095, 4_096, 70_001] {
            for wanted in (0..9_000).step_by(7).chain([1, 2, 3, 4]) {
                let length = filler_bytes(at, wanted, 4_096);
                assert_eq!((at + length) % 4_096, wanted % 4_096);
                assert!(length < 2 * 4_096 && filler(length as usize).is_some());
            }
        }
        assert_eq!(filler_bytes(10, 10, 4_096), 0);
    }
}
