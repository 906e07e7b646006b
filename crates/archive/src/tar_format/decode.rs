//! One header record as fields: checks its sum and reads octal and base 256 numbers.

use std::io;

use super::pax::invalid;
use super::{RECORD, Segment};

/// The fields of a header that are used.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) kind: u8,
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) size: u64,
    pub(super) seconds: i64,
    /// What the header of an old GNU sparse file says.
    pub(super) sparse: Option<OldSparse>,
}

/// The start of an old GNU sparse map.
#[derive(Debug)]
pub(super) struct OldSparse {
    pub(super) segments: Vec<Segment>,
    pub(super) continues: bool,
    pub(super) size: u64,
}

/// Reads a header; none for a record of zeros.
pub(super) fn decode(record: &[u8; RECORD]) -> io::Result<Option<Header>> {
    if record.iter().all(|&byte| byte == 0) {
        return Ok(None);
    }
    check_sum(record)?;
    let kind = record[156];
    let mut name = text(&record[..100]).to_vec();
    let posix = &record[257..263] == b"ustar\0";
    if posix && record[345] != 0 {
        let mut full = text(&record[345..500]).to_vec();
        full.push(b'/');
        full.append(&mut name);
        name = full;
    }
    let sparse = if kind == b'S' {
        Some(old_sparse(record)?)
    } else {
        None
    };
    Ok(Some(Header {
        kind,
        name,
        link: text(&record[157..257]).to_vec(),
        mode: (number(&record[100..108])? & 0o7777) as u32,
        uid: number(&record[108..116])?,
        gid: number(&record[116..124])?,
        size: number(&record[124..136])?,
        seconds: signed_number(&record[136..148])?,
        sparse,
    }))
}

fn check_sum(record: &[u8; RECORD]) -> io::Result<()> {
    let stated = number(&record[148..156])?;
    let bytes = || {
        record.iter().enumerate().map(|(place, &byte)| {
            if (148..156).contains(&place) {
                b' '
            } else {
                byte
            }
        })
    };
    let unsigned: u64 = bytes().map(u64::from).sum();
    let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
    if stated == unsigned || i64::try_from(stated) == Ok(signed) {
        Ok(())
    } else {
        Err(invalid("a tar header's checksum is wrong"))
    }
}

fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or(field)
}

fn number(field: &[u8]) -> io::Result<u64> {
    if field[0] & 0x80 == 0 {
        return octal(field);
    }
    u64::try_from(base256(field)?).map_err(|_| invalid("a tar header has a negative number"))
}

fn signed_number(field: &[u8]) -> io::Result<i64> {
    if field[0] & 0x80 == 0 {
        return octal(field)?
            .try_into()
            .map_err(|_| invalid("a tar header's time is too large"));
    }
    base256(field)
}

fn base256(field: &[u8]) -> io::Result<i64> {
    // The first bit only marks the form, the second is the sign.
    let negative = field[0] & 0x40 != 0;
    let mut value: i128 = if negative { -1 } else { 0 };
    for (place, &byte) in field.iter().enumerate() {
        let byte = match (place, negative) {
            (0, false) => byte & 0x7f,
            (0, true) => byte | 0x80,
            _ => byte,
        };
        value = (value << 8) | i128::from(byte);
    }
    i64::try_from(value).map_err(|_| invalid("a tar header has a number out of range"))
}

fn octal(field: &[u8]) -> io::Result<u64> {
    let mut value = 0_u64;
    let mut digits = field.iter().skip_while(|&&byte| byte == b' ');
    for &byte in digits.by_ref() {
        match byte {
            b'0'..=b'7' => value = value << 3 | u64::from(byte - b'0'),
            b' ' | 0 => break,
            _ => return Err(invalid("a tar header has a malformed number")),
        }
    }
    Ok(value)
}

fn old_sparse(record: &[u8; RECORD]) -> io::Result<OldSparse> {
    Ok(OldSparse {
        segments: old_segments(&record[386..482])?,
        continues: record[482] != 0,
        size: number(&record[483..495])?,
    })
}

/// Reads the pairs of an old GNU sparse map up to the first empty one.
pub(super) fn old_segments(pairs: &[u8]) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for pair in pairs.chunks_exact(24) {
        if pair[0] == 0 {
            break;
        }
        segments.push(Segment {
            offset: number(&pair[..12])?,
            length: number(&pair[12..])?,
        });
    }
    Ok(segments)
}
