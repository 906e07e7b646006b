//! Prefix codes as deflate describes them: by the lengths of their words, looked up in one table.

use crate::Error;

/// The longest word of a code.
const LONGEST: usize = 15;
const MOST_SYMBOLS: usize = 288;

/// The words of a code, in the order of their values.
pub(super) struct Words {
    /// How many words have each length.
    counts: [u16; LONGEST + 1],
    symbols: [u16; MOST_SYMBOLS],
}

impl Words {
    /// None if there are more words than their lengths have room for.
    pub(super) fn new(lengths: &[u8]) -> Option<Self> {
        let mut words = Self {
            counts: [0; LONGEST + 1],
            symbols: [0; MOST_SYMBOLS],
        };
        for &length in lengths {
            words.counts[usize::from(length)] += 1;
        }
        words.counts[0] = 0;
        let mut begins = [0; LONGEST + 2];
        let mut room = 1_i32;
        for (length, &count) in words.counts.iter().enumerate().skip(1) {
            room = room * 2 - i32::from(count);
            if room < 0 {
                return None;
            }
            begins[length + 1] = begins[length] + usize::from(count);
        }
        for (symbol, &length) in lengths.iter().enumerate() {
            if length > 0 {
                let next = &mut begins[usize::from(length)];
                words.symbols[*next] = symbol as u16;
                *next += 1;
            }
        }
        Some(words)
    }

    /// Finds the word that the bits begin with: its symbol and its length.
    pub(super) fn find(&self, mut bits: u64) -> Option<(usize, usize)> {
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

    /// Fills a table that is indexed by the next bits: what `entry` says of each symbol and its length.
    ///
    /// Where no word of at most the table's bits begins, `absent` stands.
    pub(super) fn fill(&self, table: &mut [u16], absent: u16, entry: impl Fn(usize, u16) -> u16) {
        table[0] = absent;
        let (mut code, mut symbols, mut filled) = (0_u32, self.symbols.iter(), 1);
        for (length, &count) in (0_u16..).zip(&self.counts).skip(1) {
            if filled == table.len() {
                return;
            }
            // What shorter words say holds whatever the next bit is.
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

/// Reads bits, the lowest of each byte first.
pub(super) struct Bits<'a> {
    pub(super) stream: &'a [u8],
    /// How many were read.
    pub(super) at: usize,
}

impl<'a> Bits<'a> {
    pub(super) fn new(stream: &'a [u8]) -> Self {
        Self { stream, at: 0 }
    }

    /// The next bits, at least 57; zeros stand for what is beyond the end.
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

    pub(super) fn take(&mut self, count: usize) -> Result<usize, Error> {
        let word = self.peek()?;
        self.at += count;
        Ok(word as usize & ((1 << count) - 1))
    }
}

pub(super) fn not_deflate() -> Error {
    Error::corrupt("a compressed block cannot be followed")
}
