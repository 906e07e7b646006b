//! Encodes data that is compressed already: literals are stored, only long repeats are encoded.
//!
//! Made for region files, jars and media, which have zeros and repeated pieces between compressed
//! data. The output is plain deflate: stored blocks, and blocks of fixed Huffman codes for the
//! repeats. Nearly all repeats of at least 48 bytes are found; shorter ones are found by chance.

/// The largest distance of a repeat, in bytes.
const WINDOW: usize = 32 << 10;
/// The shortest repeat that is encoded. A shorter one takes less space if it is stored.
const REPEAT_MIN: usize = 16;
/// The distance between two positions that are put into the table.
const TABLE_STEP: usize = 8;
/// The distance between two groups of probes. A group has `TABLE_STEP` consecutive positions. So
/// within a repeat, one of them copies a position that is in the table.
const PROBE_STEP: usize = 32;
const TABLE_BITS: u32 = 14;

/// An encoder. Its table is reused for every piece.
pub(super) struct RepeatEncoder {
    /// The latest position of each hash, plus 1; 0 means none.
    table: Vec<u32>,
}

impl RepeatEncoder {
    pub(super) fn new() -> Self {
        Self {
            table: vec![0; 1 << TABLE_BITS],
        }
    }

    /// Encodes `raw[start..]`, which may refer to bytes before `start`. Ends at a whole byte.
    pub(super) fn encode(&mut self, raw: &[u8], start: usize, out: &mut Vec<u8>) {
        self.table.fill(0);
        let mut writer = DeflateWriter {
            out,
            bits: 0,
            count: 0,
        };
        let end = raw.len();
        let mut literals = start;
        // Bytes before the start can be repeated too.
        let mut next_entry = start.saturating_sub(WINDOW).next_multiple_of(TABLE_STEP);
        let mut at = start.next_multiple_of(PROBE_STEP);
        while at + TABLE_STEP + 8 <= end {
            self.fill_table(raw, &mut next_entry, at);
            let mut next = at + PROBE_STEP;
            for probe in at..at + TABLE_STEP {
                let word = word(raw, probe);
                let candidate = self.table[slot(word)] as usize;
                if candidate == 0 || candidate > probe || probe + 1 - candidate > WINDOW {
                    continue;
                }
                let source = candidate - 1;
                if source == probe || self::word(raw, source) != word {
                    continue;
                }
                let (from, length) = extend(raw, source, probe, literals);
                if length < REPEAT_MIN {
                    continue;
                }
                writer.stored(&raw[literals..from]);
                writer.repeat(length, probe - source);
                literals = from + length;
                next = literals.next_multiple_of(TABLE_STEP);
                break;
            }
            at = next;
        }
        writer.stored(&raw[literals..]);
        writer.align();
    }

    fn fill_table(&mut self, raw: &[u8], next_entry: &mut usize, until: usize) {
        // Only positions before the first probe, so that no probe finds itself.
        while *next_entry < until {
            self.table[slot(word(raw, *next_entry))] = u32::try_from(*next_entry + 1).unwrap_or(0);
            *next_entry += TABLE_STEP;
        }
    }
}

fn word(raw: &[u8], at: usize) -> u64 {
    raw.get(at..at + 8).map_or(0, |bytes| {
        bytes.iter().rev().fold(0, |w, &b| w << 8 | u64::from(b))
    })
}

fn slot(word: u64) -> usize {
    (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - TABLE_BITS)) as usize
}

/// Extends a match of eight bytes to both sides, not further back than `least`.
///
/// Returns its start and its length.
fn extend(raw: &[u8], source: usize, probe: usize, least: usize) -> (usize, usize) {
    let distance = probe - source;
    let mut from = probe;
    while from > least && from > distance && raw[from - 1] == raw[from - 1 - distance] {
        from -= 1;
    }
    let mut to = probe + 8;
    while to + 8 <= raw.len() && word(raw, to) == word(raw, to - distance) {
        to += 8;
    }
    while to < raw.len() && raw[to] == raw[to - distance] {
        to += 1;
    }
    (from, to - from)
}

/// Writes deflate bit by bit.
struct DeflateWriter<'a> {
    out: &'a mut Vec<u8>,
    bits: u64,
    count: u32,
}

impl DeflateWriter<'_> {
    fn put(&mut self, value: u64, length: u32) {
        self.bits |= value << self.count;
        self.count += length;
        while self.count >= 8 {
            self.out.push((self.bits & 0xff) as u8);
            self.bits >>= 8;
            self.count -= 8;
        }
    }

    /// Writes bytes as stored blocks.
    fn stored(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(0xffff) {
            self.stored_header(piece.len());
            self.out.extend_from_slice(piece);
        }
    }

    fn stored_header(&mut self, length: usize) {
        self.put(0, 3);
        if self.count > 0 {
            self.put(0, 8 - self.count);
        }
        let length = (length & 0xffff) as u64;
        self.put(length, 16);
        self.put(length ^ 0xffff, 16);
    }

    /// Writes a block of fixed codes that repeats `length` bytes from `distance` back.
    fn repeat(&mut self, length: usize, distance: usize) {
        const LONGEST: usize = 258;
        const LEAST: usize = 3;
        self.put(0b010, 3);
        let mut left = length;
        while left > 0 {
            let mut now = left.min(LONGEST);
            // The rest must not be shorter than the shortest code.
            if left > now && left - now < LEAST {
                now -= LEAST;
            }
            self.length(now);
            self.distance(distance);
            left -= now;
        }
        // End of block: seven zero bits.
        self.put(0, 7);
    }

    fn length(&mut self, length: usize) {
        let (symbol, extra, extra_bits) = length_code(length);
        if symbol < 280 {
            self.put(reversed(symbol - 256, 7), 7);
        } else {
            self.put(reversed(symbol - 280 + 0b1100_0000, 8), 8);
        }
        self.put(extra, extra_bits);
    }

    fn distance(&mut self, distance: usize) {
        let (symbol, extra, extra_bits) = distance_code(distance);
        self.put(reversed(symbol, 5), 5);
        self.put(extra, extra_bits);
    }

    /// Ends at a whole byte, with an empty stored block if necessary.
    fn align(&mut self) {
        if self.count > 0 {
            self.stored_header(0);
        }
    }
}

/// Returns symbol, extra bits and their number for a length of 3 to 258.
fn length_code(length: usize) -> (u64, u64, u32) {
    let value = length as u64 - 3;
    match value {
        0..=7 => (257 + value, 0, 0),
        255 => (285, 0, 0),
        _ => {
            let extra_bits = value.ilog2() - 2;
            let symbol = 257 + u64::from(extra_bits) * 4 + (value >> extra_bits);
            (symbol, value & ((1 << extra_bits) - 1), extra_bits)
        }
    }
}

/// Returns symbol, extra bits and their number for a distance of 1 to 32768.
fn distance_code(distance: usize) -> (u64, u64, u32) {
    let value = distance as u64 - 1;
    if value < 4 {
        return (value, 0, 0);
    }
    let extra_bits = value.ilog2() - 1;
    let symbol = u64::from(extra_bits) * 2 + (value >> extra_bits);
    (symbol, value & ((1 << extra_bits) - 1), extra_bits)
}

fn reversed(value: u64, length: u32) -> u64 {
    value.reverse_bits() >> (64 - length)
}
