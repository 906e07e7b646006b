//! Huffman codes as deflate describes them, by the lengths of their codewords, and a bit reader.

use crate::Error;

/// The longest codeword, in bits.
const MAX_LENGTH: usize = 15;
const MAX_SYMBOLS: usize = 288;

/// A canonical Huffman code.
pub(super) struct HuffmanCode {
    /// The number of codewords of each length.
    counts: [u16; MAX_LENGTH + 1],
    /// The symbols in the order of their codewords.
    symbols: [u16; MAX_SYMBOLS],
}

impl HuffmanCode {
    /// Builds a code from the lengths of its codewords; 0 means that a symbol is not used.
    ///
    /// Returns `None` if the lengths do not fit into a code.
    pub(super) fn new(lengths: &[u8]) -> Option<Self> {
        let mut built = Self {
            counts: [0; MAX_LENGTH + 1],
            symbols: [0; MAX_SYMBOLS],
        };
        for &length in lengths {
            built.counts[usize::from(length)] += 1;
        }
        built.counts[0] = 0;
        let mut begins = [0; MAX_LENGTH + 2];
        let mut room = 1_i32;
        for (length, &count) in built.counts.iter().enumerate().skip(1) {
            room = room * 2 - i32::from(count);
            if room < 0 {
                return None;
            }
            begins[length + 1] = begins[length] + usize::from(count);
        }
        for (symbol, &length) in lengths.iter().enumerate() {
            if length > 0 {
                let next = &mut begins[usize::from(length)];
                built.symbols[*next] = symbol as u16;
                *next += 1;
            }
        }
        Some(built)
    }

    /// Decodes the codeword at the start of `bits`. Returns its symbol and length.
    pub(super) fn decode(&self, mut bits: u64) -> Option<(usize, usize)> {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for (length, &count) in self.counts.iter().enumerate().skip(1) {
            let count = usize::from(count);
            code |= (bits & 1) as usize;
            bits >>= 1;
            if code < first + count {
                return Some((usize::from(self.symbols[index + code - first]), length));
            }
            index += count;
            first = (first + count) * 2;
            code *= 2;
        }
        None
    }

    /// Fills a table that is indexed by the next bits with `entry(symbol, length)`.
    ///
    /// Bits that start no codeword, or one longer than the index, get `absent`.
    pub(super) fn fill_table(
        &self,
        table: &mut [u16],
        absent: u16,
        entry: impl Fn(usize, u16) -> u16,
    ) {
        table[0] = absent;
        let (mut code, mut symbols, mut filled) = (0_u32, self.symbols.iter(), 1);
        for (length, &count) in (0_u16..).zip(&self.counts).skip(1) {
            if filled == table.len() {
                return;
            }
            // Entries of shorter codewords are valid for both values of the next bit.
            table.copy_within(..filled, filled);
            filled *= 2;
            code *= 2;
            for (&symbol, code) in symbols.by_ref().take(usize::from(count)).zip(code..) {
                let reversed = code.reverse_bits() >> (32 - u32::from(length));
                table[reversed as usize] = entry(usize::from(symbol), length);
            }
            code += u32::from(count);
        }
    }
}

/// Reads bits, the lowest of each byte first, without going beyond the end.
pub(super) struct BitReader<'a> {
    pub(super) stream: &'a [u8],
    /// The number of bits read so far.
    pub(super) at: usize,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(stream: &'a [u8]) -> Self {
        Self { stream, at: 0 }
    }

    /// Returns at least 57 of the next bits; bits beyond the end are 0.
    #[inline]
    pub(super) fn peek(&self) -> Result<u64, Error> {
        let byte = self.at / 8;
        let word = match self.stream.get(byte..byte + 8) {
            Some(bytes) => bytes.try_into().map_or(0, u64::from_le_bytes),
            None => self.peek_at_end(byte)?,
        };
        Ok(word >> (self.at % 8))
    }

    #[cold]
    fn peek_at_end(&self, byte: usize) -> Result<u64, Error> {
        let rest = self.stream.get(byte..).ok_or_else(not_deflate)?;
        let mut bytes = [0; 8];
        bytes[..rest.len()].copy_from_slice(rest);
        Ok(u64::from_le_bytes(bytes))
    }

    /// Reads `count` bits.
    pub(super) fn take(&mut self, count: usize) -> Result<usize, Error> {
        let word = self.peek()?;
        self.at += count;
        Ok(word as usize & ((1 << count) - 1))
    }
}

/// Returns the error for a stream that is not valid deflate.
pub(super) fn not_deflate() -> Error {
    Error::corrupt("the compressor returned an invalid deflate stream")
}
