//! Clears the final-block flag of a deflate stream, so that another stream can follow it.
//!
//! libdeflate writes whole streams only, and flags the last block as final. To find that block, the
//! stream has to be read code by code. Only the lengths of the codes matter, and one table lookup
//! skips several codes. A stream that is not valid deflate is an error.

use super::huffman::{BitReader, HuffmanCode, not_deflate};
use crate::Error;

/// Index bits of the tables for symbols.
const INDEX_BITS: usize = 12;
/// Index bits of the table for distances.
const DISTANCE_INDEX_BITS: usize = 9;

// Fields of a table entry.
/// The mask of the number of bits to skip, extra bits included.
const SKIP_MASK: u16 = 0x3f;
/// A distance follows.
const REPEAT: u16 = 0x40;
/// The block ends here.
const END: u16 = 0x80;
/// The code is longer than the index, or invalid.
const LONG: u16 = 0x100;
/// The bits above this shift: the length of the code, without extra bits. In the table of
/// [`read_lengths`], the symbol.
const CODE_SHIFT: u32 = 9;

const END_OF_BLOCK: usize = 256;
/// The order of the code lengths in the header of a dynamic block.
const ORDER: [usize; 19] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];

/// The bit offsets at which the final block begins and ends.
struct FinalBlock {
    begin: usize,
    end: usize,
}

/// Finds final blocks. Its tables are reused for every stream.
pub(super) struct FinalBlockFinder {
    symbols: Box<[u16; 1 << INDEX_BITS]>,
    distances: Box<[u16; 1 << DISTANCE_INDEX_BITS]>,
    /// As `symbols`, but an entry covers a literal and the code after it, if both fit into the
    /// index.
    joined: Box<[u16; 1 << INDEX_BITS]>,
}

impl FinalBlockFinder {
    pub(super) fn new() -> Self {
        Self {
            symbols: Box::new([0; 1 << INDEX_BITS]),
            distances: Box::new([0; 1 << DISTANCE_INDEX_BITS]),
            joined: Box::new([0; 1 << INDEX_BITS]),
        }
    }

    /// Changes the stream `out[start..]` so that it ends at a whole byte and another one can
    /// follow.
    pub(super) fn clear_final_flag(
        &mut self,
        out: &mut Vec<u8>,
        start: usize,
    ) -> Result<(), Error> {
        let last = self.find(&out[start..])?;
        out[start + last.begin / 8] &= !(1 << (last.begin % 8));
        // An empty stored block: three zero bits, zeros up to the next byte, length and its
        // complement.
        if last.end + 3 > (out.len() - start) * 8 {
            out.push(0);
        }
        out.extend_from_slice(&[0, 0, 0xff, 0xff]);
        Ok(())
    }

    fn find(&mut self, stream: &[u8]) -> Result<FinalBlock, Error> {
        let mut bits = BitReader::new(stream);
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
                    self.skip_block(&mut bits, &lengths, &[5; 30])?;
                }
                2 => {
                    let mut lengths = [0; 320];
                    let (symbols, all) = read_lengths(&mut bits, &mut lengths)?;
                    self.skip_block(&mut bits, &lengths[..symbols], &lengths[symbols..all])?;
                }
                _ => return Err(not_deflate()),
            }
            if is_last {
                let end = bits.at;
                return if end.div_ceil(8) == stream.len() {
                    Ok(FinalBlock { begin, end })
                } else {
                    Err(not_deflate())
                };
            }
        }
    }

    /// Skips the codes of a block to its end.
    fn skip_block(
        &mut self,
        bits: &mut BitReader<'_>,
        symbols: &[u8],
        distances: &[u8],
    ) -> Result<(), Error> {
        let symbols = HuffmanCode::new(symbols).ok_or_else(not_deflate)?;
        let distances = HuffmanCode::new(distances).ok_or_else(not_deflate)?;
        symbols.fill_table(&mut *self.symbols, LONG, symbol_entry);
        distances.fill_table(&mut *self.distances, LONG, distance_entry);
        self.join();
        loop {
            self.skip_short_codes(bits);
            let word = bits.peek()?;
            let mut entry = self.joined[word as usize % (1 << INDEX_BITS)];
            if entry & LONG != 0 {
                let (symbol, length) = symbols.decode(word).ok_or_else(not_deflate)?;
                entry = symbol_entry(symbol, length as u16);
            }
            if entry & LONG != 0 {
                return Err(not_deflate());
            }
            bits.at += usize::from(entry & SKIP_MASK);
            if entry & END != 0 {
                return Ok(());
            }
            if entry & REPEAT != 0 {
                let word = word >> (entry & SKIP_MASK);
                let mut entry = self.distances[word as usize % (1 << DISTANCE_INDEX_BITS)];
                if entry & LONG != 0 {
                    let (symbol, length) = distances.decode(word).ok_or_else(not_deflate)?;
                    entry = distance_entry(symbol, length as u16);
                }
                if entry & LONG != 0 {
                    return Err(not_deflate());
                }
                bits.at += usize::from(entry & SKIP_MASK);
            }
        }
    }

    /// Skips codes. Stops at a code that is longer than the index, at the end of the block, or
    /// shortly before the end of the stream.
    fn skip_short_codes(&self, bits: &mut BitReader<'_>) {
        let mut byte = bits.at / 8 + 7;
        let mut left = 56 - bits.at % 8;
        let mut word = match bits.stream.get(byte - 7..byte + 1) {
            Some(bytes) => bytes.try_into().map_or(0, u64::from_le_bytes) >> (bits.at % 8),
            None => return,
        };
        while let Some(bytes) = bits.stream.get(byte..byte + 8) {
            // Bits above `left` are already in place, and stay unchanged.
            word |= bytes.try_into().map_or(0, u64::from_le_bytes) << left;
            byte += (63 - left) / 8;
            left |= 56;
            let entry = self.joined[word as usize % (1 << INDEX_BITS)];
            if entry & (END | LONG) != 0 {
                break;
            }
            let mut after = word >> (entry & SKIP_MASK);
            let mut length = entry & SKIP_MASK;
            if entry & REPEAT != 0 {
                let distance = self.distances[after as usize % (1 << DISTANCE_INDEX_BITS)];
                if distance & LONG != 0 {
                    break;
                }
                after >>= distance & SKIP_MASK;
                length += distance & SKIP_MASK;
            }
            word = after;
            left -= usize::from(length);
        }
        bits.at = byte * 8 - left;
    }

    /// Joins the entries of a literal and of the code after it, if one index covers both.
    fn join(&mut self) {
        for (index, joined) in self.joined.iter_mut().enumerate() {
            let entry = self.symbols[index];
            let next = self.symbols[index >> (entry & SKIP_MASK)];
            // The bits beyond the index are unknown.
            let is_within_index = (entry >> CODE_SHIFT) + (next >> CODE_SHIFT) <= INDEX_BITS as u16;
            let both = (next & (REPEAT | END)) | ((entry & SKIP_MASK) + (next & SKIP_MASK));
            let is_joinable = (entry & (REPEAT | END | LONG)) | (next & LONG) == 0;
            *joined = if is_joinable & is_within_index {
                both
            } else {
                entry
            };
        }
    }
}

fn symbol_entry(symbol: usize, length: u16) -> u16 {
    let code = length << CODE_SHIFT;
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

/// Reads the code lengths of a dynamic block. Returns the number of symbol lengths and of all
/// lengths.
fn read_lengths(
    bits: &mut BitReader<'_>,
    lengths: &mut [u8; 320],
) -> Result<(usize, usize), Error> {
    let symbols = bits.take(5)? + 257;
    let all = symbols + bits.take(5)? + 1;
    let count = bits.take(4)? + 4;
    let mut own = [0; ORDER.len()];
    for &symbol in ORDER.iter().take(count) {
        own[symbol] = bits.take(3)? as u8;
    }
    let code = HuffmanCode::new(&own).ok_or_else(not_deflate)?;
    let mut table = [0; 1 << 7];
    code.fill_table(&mut table, LONG, |symbol, length| {
        (symbol as u16) << CODE_SHIFT | length
    });
    let mut known = 0;
    while known < all {
        let entry = table[bits.peek()? as usize % table.len()];
        if entry & LONG != 0 {
            return Err(not_deflate());
        }
        bits.at += usize::from(entry & SKIP_MASK);
        let symbol = entry >> CODE_SHIFT;
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
