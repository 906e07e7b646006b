//! Finds where the last block of a deflate stream begins and ends, so that the stream can go on.
//!
//! A compressor that only writes whole streams marks its last block as final. To clear that mark, the
//! stream has to be followed code by code; but only the lengths of the codes matter, not what they say,
//! and one look into a table takes several at once. What is no deflate stream is an error.

use super::codes::{Bits, Words, not_deflate};
use crate::Error;

/// How many bits one look takes in.
const LOOK: usize = 12;
const DISTANCE_LOOK: usize = 9;

/// In an entry of a table: the bits to skip, extra bits included, …
const BITS: u16 = 0x3f;
/// … whether a distance follows, …
const REPEAT: u16 = 0x40;
/// … whether the block ends here, …
const END: u16 = 0x80;
/// … whether the code is longer than the look, or none at all, …
const LONG: u16 = 0x100;
/// … and, above this shift, the bits of the code alone.
const CODE: u32 = 9;

const END_OF_BLOCK: usize = 256;
/// The order of the lengths in the header of a block that brings its own codes.
const ORDER: [usize; 19] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];

/// Where the final block begins, and where the stream ends; in bits.
struct Last {
    begin: usize,
    end: usize,
}

/// Tables, used again for every block.
pub(super) struct Seal {
    symbols: Box<[u16; 1 << LOOK]>,
    distances: Box<[u16; 1 << DISTANCE_LOOK]>,
    /// As `symbols`, with literals taken together, and a repeat after them.
    joined: Box<[u16; 1 << LOOK]>,
}

impl Seal {
    pub(super) fn new() -> Self {
        Self {
            symbols: Box::new([0; 1 << LOOK]),
            distances: Box::new([0; 1 << DISTANCE_LOOK]),
            joined: Box::new([0; 1 << LOOK]),
        }
    }

    /// Turns the whole stream `out[start..]` into a run that ends at a byte and that another may follow.
    pub(super) fn open(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), Error> {
        let last = self.last(&out[start..])?;
        out[start + last.begin / 8] &= !(1 << (last.begin % 8));
        // An empty stored block: three zero bits, zeros up to the next byte, its length and that inverted.
        if last.end + 3 > (out.len() - start) * 8 {
            out.push(0);
        }
        out.extend_from_slice(&[0, 0, 0xff, 0xff]);
        Ok(())
    }

    fn last(&mut self, stream: &[u8]) -> Result<Last, Error> {
        let mut bits = Bits::new(stream);
        loop {
            let begin = bits.at;
            let is_last = bits.take(1)? == 1;
            match bits.take(2)? {
                0 => {
                    bits.at = bits.at.next_multiple_of(8);
                    let length = bits.take(16)?;
                    if bits.take(16)? != length ^ 0xffff {
                        return Err(not_deflate());
                    }
                    bits.at += length * 8;
                }
                1 => {
                    let mut lengths = [8; 288];
                    lengths[144..256].fill(9);
                    lengths[256..280].fill(7);
                    self.follow(&mut bits, &lengths, &[5; 30])?;
                }
                2 => {
                    let mut lengths = [0; 320];
                    let (symbols, all) = read_lengths(&mut bits, &mut lengths)?;
                    self.follow(&mut bits, &lengths[..symbols], &lengths[symbols..all])?;
                }
                _ => return Err(not_deflate()),
            }
            if is_last {
                let end = bits.at;
                return if end.div_ceil(8) == stream.len() {
                    Ok(Last { begin, end })
                } else {
                    Err(not_deflate())
                };
            }
        }
    }

    /// Follows the codes of a block to its end.
    fn follow(
        &mut self,
        bits: &mut Bits<'_>,
        symbols: &[u8],
        distances: &[u8],
    ) -> Result<(), Error> {
        let symbols = Words::new(symbols).ok_or_else(not_deflate)?;
        let distances = Words::new(distances).ok_or_else(not_deflate)?;
        symbols.fill(&mut *self.symbols, LONG, symbol_entry);
        distances.fill(&mut *self.distances, LONG, distance_entry);
        self.join();
        loop {
            self.hurry(bits);
            let word = bits.peek()?;
            let mut entry = self.joined[word as usize % (1 << LOOK)];
            if entry & LONG != 0 {
                let (symbol, length) = symbols.find(word).ok_or_else(not_deflate)?;
                entry = symbol_entry(symbol, length as u16);
            }
            if entry & LONG != 0 {
                return Err(not_deflate());
            }
            bits.at += usize::from(entry & BITS);
            if entry & END != 0 {
                return Ok(());
            }
            if entry & REPEAT != 0 {
                let word = word >> (entry & BITS);
                let mut entry = self.distances[word as usize % (1 << DISTANCE_LOOK)];
                if entry & LONG != 0 {
                    let (symbol, length) = distances.find(word).ok_or_else(not_deflate)?;
                    entry = distance_entry(symbol, length as u16);
                }
                if entry & LONG != 0 {
                    return Err(not_deflate());
                }
                bits.at += usize::from(entry & BITS);
            }
        }
    }

    /// Follows codes up to one that takes more than a look, to the end of the block, or of the stream.
    fn hurry(&self, bits: &mut Bits<'_>) {
        let mut byte = bits.at / 8 + 7;
        let mut left = 56 - bits.at % 8;
        let mut word = match bits.stream.get(byte - 7..byte + 1) {
            Some(bytes) => bytes.try_into().map_or(0, u64::from_le_bytes) >> (bits.at % 8),
            None => return,
        };
        while let Some(bytes) = bits.stream.get(byte..byte + 8) {
            // Bits above `left` are there already, and stay what they are.
            word |= bytes.try_into().map_or(0, u64::from_le_bytes) << left;
            byte += (63 - left) / 8;
            left |= 56;
            let entry = self.joined[word as usize % (1 << LOOK)];
            if entry & (END | LONG) != 0 {
                break;
            }
            let mut after = word >> (entry & BITS);
            let mut length = entry & BITS;
            if entry & REPEAT != 0 {
                let distance = self.distances[after as usize % (1 << DISTANCE_LOOK)];
                if distance & LONG != 0 {
                    break;
                }
                after >>= distance & BITS;
                length += distance & BITS;
            }
            word = after;
            left -= usize::from(length);
        }
        bits.at = byte * 8 - left;
    }

    /// Takes a literal together with what follows it, where one look reaches both.
    fn join(&mut self) {
        for (index, joined) in self.joined.iter_mut().enumerate() {
            let entry = self.symbols[index];
            let next = self.symbols[index >> (entry & BITS)];
            // The bits beyond the look are unknown.
            let reached = (entry >> CODE) + (next >> CODE) <= LOOK as u16;
            let both = (next & (REPEAT | END)) | ((entry & BITS) + (next & BITS));
            let can = (entry & (REPEAT | END | LONG)) | (next & LONG) == 0;
            *joined = if can & reached { both } else { entry };
        }
    }
}

fn symbol_entry(symbol: usize, length: u16) -> u16 {
    let code = length << CODE;
    match symbol {
        ..END_OF_BLOCK => code | length,
        END_OF_BLOCK => code | END | length,
        257..265 | 285 => code | REPEAT | length,
        265..285 => code | REPEAT | (length + (symbol as u16 - 261) / 4),
        _ => LONG,
    }
}

fn distance_entry(symbol: usize, length: u16) -> u16 {
    match symbol {
        ..4 => length,
        4..30 => length + (symbol as u16 - 2) / 2,
        _ => LONG,
    }
}

/// Reads the lengths of a block's own codes: how many are of symbols, and how many there are in all.
fn read_lengths(bits: &mut Bits<'_>, lengths: &mut [u8; 320]) -> Result<(usize, usize), Error> {
    let symbols = bits.take(5)? + 257;
    let all = symbols + bits.take(5)? + 1;
    let count = bits.take(4)? + 4;
    let mut own = [0; ORDER.len()];
    for &symbol in ORDER.iter().take(count) {
        own[symbol] = bits.take(3)? as u8;
    }
    let words = Words::new(&own).ok_or_else(not_deflate)?;
    let mut table = [0; 1 << 7];
    words.fill(&mut table, LONG, |symbol, length| {
        (symbol as u16) << CODE | length
    });
    let mut known = 0;
    while known < all {
        let entry = table[bits.peek()? as usize % table.len()];
        if entry & LONG != 0 {
            return Err(not_deflate());
        }
        bits.at += usize::from(entry & BITS);
        let symbol = entry >> CODE;
        let (value, times) = match symbol {
            0..16 => (symbol as u8, 1),
            16 => {
                let before = known.checked_sub(1).ok_or_else(not_deflate)?;
                (lengths[before], bits.take(2)? + 3)
            }
            17 => (0, bits.take(3)? + 3),
            _ => (0, bits.take(7)? + 11),
        };
        if known + times > all {
            return Err(not_deflate());
        }
        lengths[known..known + times].fill(value);
        known += times;
    }
    Ok((symbols, all))
}
