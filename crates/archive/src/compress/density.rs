//! Recognizes pieces that look compressed already: all bytes are about equally frequent. Words of
//! zeros do not count, since sectors are padded with them.
//!
//! Pairs of equal bytes tell how frequent: among n equally frequent values, one of n pairs is a
//! pair of equal bytes. A sample decides in most cases. Everything is computed with integers, so
//! that all machines decide alike.

/// Bytes that are sampled together, one such group in every `SAMPLE_STEP` bytes.
const SAMPLE_BYTES: usize = 32;
const SAMPLE_STEP: usize = 512;
/// A piece with fewer bytes in words other than zero is not dense.
const BYTES_MIN: u64 = 4096;
/// A sample with fewer such bytes does not decide that a piece is dense.
const SAMPLE_BYTES_MIN: u64 = 1024;

/// The number of equally frequent values from which on a piece is dense. A Huffman code would save
/// 3 % of it at most, and usually half of that.
const DENSE_VALUES: u64 = 216;
/// A sample with more or fewer values than these decides. In between, all bytes are counted.
const SAMPLE_DENSE_VALUES: u64 = 240;
const SAMPLE_SPARSE_VALUES: u64 = 190;

/// Returns whether a piece looks compressed already.
pub(super) fn is_dense(piece: &[u8]) -> bool {
    let sample = Counts::of(samples(piece));
    if sample.bytes * ((SAMPLE_STEP / SAMPLE_BYTES) as u64) < BYTES_MIN / 2
        || !sample.has_values(SAMPLE_SPARSE_VALUES)
    {
        return false;
    }
    if sample.bytes >= SAMPLE_BYTES_MIN && sample.has_values(SAMPLE_DENSE_VALUES) {
        return true;
    }
    let all = Counts::of([piece].into_iter());
    all.bytes >= BYTES_MIN && all.has_values(DENSE_VALUES)
}

/// Returns a sample. Each group lies at another offset in its part of the piece, so that the sample
/// does not keep step with records of the data.
fn samples(piece: &[u8]) -> impl Iterator<Item = &[u8]> {
    (0_u32..)
        .zip(piece.chunks(SAMPLE_STEP))
        .map(|(number, part)| {
            // Multiples of the golden ratio, modulo 1, are spread evenly.
            let spread = u64::from(number.wrapping_mul(0x9e37_79b9));
            let room = part.len().saturating_sub(SAMPLE_BYTES) as u64 + 1;
            let offset = ((spread * room) >> 32) as usize;
            &part[offset..part.len().min(offset + SAMPLE_BYTES)]
        })
}

/// What is known of some bytes, without words of zeros.
struct Counts {
    bytes: u64,
    /// The number of ordered pairs of equal bytes.
    equal_pairs: u64,
}

impl Counts {
    fn of<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Self {
        // Several tables, so that equal bytes in a row do not wait for each other.
        let mut tables = [[0_u32; 256]; 4];
        let mut bytes = 0;
        for piece in pieces {
            let (words, _) = piece.as_chunks::<8>();
            for word in words.iter().filter(|word| **word != [0; 8]) {
                bytes += 8;
                for quad in word.as_chunks::<4>().0 {
                    for (table, &byte) in tables.iter_mut().zip(quad) {
                        table[usize::from(byte)] += 1;
                    }
                }
            }
        }
        let mut equal_pairs = 0;
        for byte in 0..256 {
            let count: u64 = tables.iter().map(|table| u64::from(table[byte])).sum();
            equal_pairs += count * count.saturating_sub(1);
        }
        Self { bytes, equal_pairs }
    }

    /// Returns whether equal bytes are as rare as with this number of equally frequent values.
    fn has_values(&self, values: u64) -> bool {
        self.equal_pairs * values <= self.bytes * self.bytes.saturating_sub(1)
    }
}
