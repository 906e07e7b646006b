//! Encodes data that is compressed already: literals are stored, only long repeats are encoded.
//!
//! Made for region files, jars and media, which have zeros and repeated pieces between compressed
//! data. The output is plain deflate: stored blocks, and blocks of fixed Huffman codes for the
//! repeats.
//!
//! Most of such data never repeats, so the encoder looks at few positions: at groups of them that
//! are half a kilobyte apart. Where it finds a repeat, it looks closer for a while. Runs of one
//! byte need no table and are looked for every 64 bytes. So all runs of at least 72 bytes are
//! found, and nearly all repeats of a kilobyte; shorter ones are found by chance, or near other
//! repeats. ASCII is looked at everywhere, since it is rare in such data, and often repeats: names
//! in the headers of jars.

use std::ops::Range;

/// The largest distance of a repeat, in bytes.
const WINDOW: usize = 32 << 10;
/// The shortest repeat that is encoded. A shorter one takes less space if it is stored.
const REPEAT_MIN: usize = 16;
/// The distance between two positions that are put into the table.
const TABLE_STEP: usize = 16;
const TABLE_BITS: u32 = 13;
/// The distance between two groups of probes. A group has `TABLE_STEP` consecutive positions. So
/// within a repeat, one of them copies a position that is in the table.
///
/// The distance grows from the least to the largest while nothing is found. The largest is prime,
/// so that the groups do not keep step with records of the data.
const PROBE_STEP_MIN: usize = 64;
const PROBE_STEP_MAX: usize = 509;
/// The distance between two positions at which a run of one byte is looked for.
const RUN_STEP: usize = 64;
/// Bytes that are compared at once.
const WORD: usize = 8;

/// An encoder. Its table is reused for every piece.
pub(super) struct RepeatEncoder {
    /// The latest position of each hash, plus 1; 0 means none.
    table: Box<[u32; 1 << TABLE_BITS]>,
}

/// Bytes that repeat those `distance` before them.
struct Repeat {
    from: usize,
    to: usize,
    distance: usize,
}

impl RepeatEncoder {
    pub(super) fn new() -> Self {
        Self {
            table: Box::new([0; 1 << TABLE_BITS]),
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
        let mut literals = start;
        // Bytes before the start can be repeated too.
        let mut next_entry = start.saturating_sub(WINDOW).next_multiple_of(TABLE_STEP);
        let mut at = start;
        let mut step = PROBE_STEP_MIN;
        while at < raw.len() {
            self.fill_table(raw, &mut next_entry, at);
            let next = raw.len().min(at + step);
            let Some(repeat) = self.find(raw, at, next, literals) else {
                at = next;
                step = PROBE_STEP_MAX.min(step + PROBE_STEP_MIN);
                continue;
            };
            writer.stored(&raw[literals..repeat.from]);
            writer.repeat(repeat.to - repeat.from, repeat.distance);
            literals = repeat.to;
            at = literals;
            // Runs are found anyway.
            if repeat.distance > 1 {
                step = PROBE_STEP_MIN;
            }
        }
        writer.stored(&raw[literals..]);
        writer.align();
    }

    fn fill_table(&mut self, raw: &[u8], next_entry: &mut usize, until: usize) {
        // Only positions before the first probe, so that no probe finds itself.
        while *next_entry < until {
            let word = word(raw, *next_entry);
            if next_entry.is_multiple_of(TABLE_STEP) || is_text(word) {
                self.table[slot(word)] = u32::try_from(*next_entry + 1).unwrap_or(0);
            }
            *next_entry += WORD;
        }
    }

    /// Looks for a repeat of what is in the table at some positions.
    fn probe(&self, raw: &[u8], positions: Range<usize>, least: usize) -> Option<Repeat> {
        positions.into_iter().find_map(|probe| {
            let word = to_word(raw.get(probe..probe + WORD)?);
            let source = (self.table[slot(word)] as usize).checked_sub(1)?;
            let distance = probe.checked_sub(source)?;
            let is_usable = (1..=WINDOW).contains(&distance) && self::word(raw, source) == word;
            is_usable.then(|| extend(raw, probe, distance, least))?
        })
    }

    /// Looks for a repeat at a group of positions from `at` on, then for one of ASCII or a run of
    /// one byte up to `next`. The repeat may begin before, but not before `least`.
    fn find(&self, raw: &[u8], at: usize, next: usize, least: usize) -> Option<Repeat> {
        let group = at..raw.len().min(at + TABLE_STEP);
        let repeat = self.probe(raw, group, least);
        if repeat.is_some() {
            return repeat;
        }
        for (from, bytes) in (at..).step_by(WORD).zip(raw[at..next].chunks_exact(WORD)) {
            if is_text(to_word(bytes)) {
                let repeat = self.probe(raw, from..from + WORD, least);
                if repeat.is_some() {
                    return repeat;
                }
            }
        }
        (at..next).step_by(RUN_STEP).find_map(|probe| {
            let word = to_word(raw.get(probe..probe + WORD)?);
            if word != word.rotate_left(8) {
                return None;
            }
            extend(raw, probe + 1, 1, least)
        })
    }
}

/// Returns whether all bytes of a word are ASCII.
fn is_text(word: u64) -> bool {
    word & 0x8080_8080_8080_8080 == 0
}

/// Returns the word at a position, or 0 if there is no whole one.
fn word(raw: &[u8], at: usize) -> u64 {
    raw.get(at..at + WORD).map_or(0, to_word)
}

fn to_word(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

fn slot(word: u64) -> usize {
    (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - TABLE_BITS)) as usize
}

/// Extends a repeat at `at` to both sides, not further back than `least`.
///
/// Returns `None` if it is too short.
fn extend(raw: &[u8], at: usize, distance: usize, least: usize) -> Option<Repeat> {
    let mut from = at;
    while from > least && from > distance && raw[from - 1] == raw[from - 1 - distance] {
        from -= 1;
    }
    let mut to = at;
    while to + WORD <= raw.len() && word(raw, to) == word(raw, to - distance) {
        to += WORD;
    }
    while to < raw.len() && raw[to] == raw[to - distance] {
        to += 1;
    }
    let is_long = to - from >= REPEAT_MIN;
    is_long.then_some(Repeat { from, to, distance })
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
