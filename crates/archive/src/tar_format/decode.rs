//! Decodes one header block, and rejects what the `tar` crate would accept by mistake.
//!
//! `tar` does not compare checksums. It ignores the sign and the high bytes of base-256 numbers,
//! and accepts a plus sign in octal ones. So every numeric field is checked before its value is
//! used.

use std::io;

use tar::{GnuSparseHeader, Header};

use super::pax::invalid;
use super::{Segment, TAR_BLOCK};

/// The fields of a header that the reader uses.
#[derive(Debug)]
pub(super) struct HeaderFields {
    /// The byte that states the type of the entry.
    pub(super) type_byte: u8,
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) size: u64,
    /// Modification time in seconds since 1970.
    pub(super) seconds: i64,
    /// The start of the sparse map of an old GNU sparse file.
    pub(super) sparse: Option<GnuSparseMap>,
}

/// The part of an old GNU sparse map that is in the header.
#[derive(Debug)]
pub(super) struct GnuSparseMap {
    pub(super) segments: Vec<Segment>,
    /// Whether the next block continues the map.
    pub(super) continues: bool,
    /// Size of the file, holes included.
    pub(super) size: u64,
}

/// Decodes a header block. Returns `None` for a block of zeros.
pub(super) fn decode_header(block: &[u8; TAR_BLOCK]) -> io::Result<Option<HeaderFields>> {
    if block.iter().all(|&byte| byte == 0) {
        return Ok(None);
    }
    let header = Header::from_byte_slice(block);
    let fields = header.as_old();
    check_checksum(header)?;
    let [type_byte] = fields.linkflag;
    let sparse = match type_byte {
        b'S' => Some(decode_gnu_sparse(header)?),
        _ => None,
    };
    Ok(Some(HeaderFields {
        type_byte,
        name: full_name(header),
        link: until_nul(&fields.linkname).to_vec(),
        mode: (number(&fields.mode, header.mode().map(u64::from))? & 0o7777) as u32,
        uid: number(&fields.uid, header.uid())?,
        gid: number(&fields.gid, header.gid())?,
        size: number(&fields.size, header.entry_size())?,
        seconds: signed_number(&fields.mtime, header.mtime())?,
        sparse,
    }))
}

/// Returns whether a block is a header or empty, as the first block of a tar is.
pub(crate) fn is_header(block: &[u8; TAR_BLOCK]) -> bool {
    block.iter().all(|&byte| byte == 0) || check_checksum(Header::from_byte_slice(block)).is_ok()
}

/// Joins prefix and name. `tar` would drop the prefix of a header with an unknown version.
fn full_name(header: &Header) -> Vec<u8> {
    const MAGIC: &[u8] = b"ustar\0";
    let block = header.as_bytes();
    let name = until_nul(&header.as_old().name);
    let prefix = until_nul(&block[345..500]);
    if prefix.is_empty() || !block[257..].starts_with(MAGIC) {
        return name.to_vec();
    }
    [prefix, b"/", name].concat()
}

/// Compares the checksum with the sum of the bytes.
///
/// Some old writers added signed bytes: their sum is lower by 256 for every byte above 127.
fn check_checksum(header: &Header) -> io::Result<()> {
    let field = &header.as_old().cksum;
    let stated = number(field, header.cksum().map(u64::from))?;
    let mut summed = header.clone();
    summed.set_cksum();
    let sum = summed.cksum().map(u64::from)?;
    // The checksum field itself, now octal digits, has no byte above 127.
    let high_bytes = summed.as_bytes().iter().filter(|byte| !byte.is_ascii());
    let difference = 256 * high_bytes.count() as u64;
    if stated == sum || stated + difference == sum {
        Ok(())
    } else {
        Err(invalid("a tar header's checksum is wrong"))
    }
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or(field)
}

/// Checks a field that must hold a number of at least 0, of which `tar` read `value`.
fn number(field: &[u8], value: io::Result<u64>) -> io::Result<u64> {
    let value = signed_number(field, value)?;
    u64::try_from(value).map_err(|_| invalid("a tar header has a negative number"))
}

/// Checks a numeric field of which `tar` read `value`. An empty field is 0.
fn signed_number(field: &[u8], value: io::Result<u64>) -> io::Result<i64> {
    if field[0] & 0x80 != 0 {
        return base256(field, value);
    }
    let digits = octal_digits(field);
    if digits.is_empty() {
        return Ok(0);
    }
    if !digits.iter().all(|digit| (b'0'..=b'7').contains(digit)) {
        return Err(invalid("a tar header has a malformed number"));
    }
    let value = value.map_err(|_| invalid("a tar header has a malformed number"))?;
    i64::try_from(value).map_err(|_| invalid("a tar header has a number out of range"))
}

/// Checks a two's complement number whose first bit only marks the format.
fn base256(field: &[u8], value: io::Result<u64>) -> io::Result<i64> {
    let out_of_range = || invalid("a tar header has a number out of range");
    let negative = field[0] & 0x40 != 0;
    let value = value.map_err(|_| out_of_range())?;
    let Some(high @ [first, rest @ ..]) = field.get(..field.len() - 8).filter(|h| !h.is_empty())
    else {
        // A field of eight bytes holds 63 bits.
        let signed = if negative { value | 1 << 63 } else { value };
        return Ok(signed.cast_signed());
    };
    debug_assert_eq!(high.len(), 4, "a field has 8 or 12 bytes");
    // `tar` reads the last eight bytes. The others may only repeat the sign.
    let sign = if negative { 0xff } else { 0 };
    let extends = first | 0x80 == sign | 0x80 && rest.iter().all(|&byte| byte == sign);
    let value = value.cast_signed();
    if extends && negative == (value < 0) {
        Ok(value)
    } else {
        Err(out_of_range())
    }
}

/// Returns an octal field without NULs and surrounding spaces.
fn octal_digits(field: &[u8]) -> &[u8] {
    let mut digits = until_nul(field);
    while let [b' ', rest @ ..] | [rest @ .., b' '] = digits {
        digits = rest;
    }
    digits
}

fn decode_gnu_sparse(header: &Header) -> io::Result<GnuSparseMap> {
    let gnu = header
        .as_gnu()
        .ok_or_else(|| invalid("the header of a sparse file is not a GNU header"))?;
    Ok(GnuSparseMap {
        segments: decode_segments(&gnu.sparse)?,
        continues: gnu.isextended != [0],
        size: number(&gnu.realsize, gnu.real_size())?,
    })
}

/// Decodes the ranges of an old GNU sparse map up to the first empty one.
pub(super) fn decode_segments(ranges: &[GnuSparseHeader]) -> io::Result<Vec<Segment>> {
    ranges
        .iter()
        .take_while(|range| range.offset[0] != 0)
        .map(|range| {
            Ok(Segment {
                offset: number(&range.offset, range.offset())?,
                length: number(&range.numbytes, range.length())?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(size: &[u8; 12], change: impl FnOnce(&mut Header)) -> [u8; TAR_BLOCK] {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..4].copy_from_slice(b"name");
        header.as_old_mut().size = *size;
        change(&mut header);
        header.set_cksum();
        *header.as_bytes()
    }

    fn size(field: &[u8; 12]) -> Option<u64> {
        let fields = decode_header(&block(field, |_| {})).ok()?;
        fields.map(|fields| fields.size)
    }

    fn mtime(field: &[u8; 12]) -> Option<i64> {
        let block = block(&[0; 12], |header| header.as_old_mut().mtime = *field);
        let fields = decode_header(&block).ok()?;
        fields.map(|fields| fields.seconds)
    }

    #[test]
    fn octal_numbers_may_be_padded_with_spaces_but_hold_digits_only() {
        assert_eq!(size(b"00000000017\0"), Some(15));
        assert_eq!(size(b"        17 \0"), Some(15));
        assert_eq!(size(b"777777777777"), Some((1 << 36) - 1));
        assert_eq!(size(&[0; 12]), Some(0));
        for malformed in [
            b"+0000000017\0",
            b"-0000000017\0",
            b"00000000018\0",
            b"\t0000000017\0",
            b"0x000000017\0",
            b"0000 000017\0",
        ] {
            assert_eq!(size(malformed), None, "{malformed:?}");
        }
    }

    #[test]
    fn base_256_numbers_keep_their_sign_and_must_fit_into_63_bits() {
        assert_eq!(size(b"\x80\0\0\0\0\0\0\x02\0\0\0\0"), Some(1 << 33));
        assert_eq!(size(b"\x80\0\0\x01\0\0\0\0\0\0\0\0"), None);
        assert_eq!(size(b"\x80\0\0\0\x80\0\0\0\0\0\0\0"), None);
        assert_eq!(size(&[0xff; 12]), None);
        assert_eq!(mtime(&[0xff; 12]), Some(-1));
        assert_eq!(
            mtime(b"\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff"),
            None
        );
        assert_eq!(
            mtime(b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
            None
        );
        for (uid, expected) in [(*b"\x80\0\0\0\x80\0\0\0", Some(1 << 31)), ([0xff; 8], None)] {
            let block = block(&[0; 12], |header| header.as_old_mut().uid = uid);
            let found = decode_header(&block).ok().flatten();
            assert_eq!(found.map(|fields| fields.uid), expected);
        }
    }

    #[test]
    fn a_checksum_of_signed_or_unsigned_bytes_is_accepted_and_no_other() {
        let good = block(&[0; 12], |header| header.as_old_mut().name[..2].fill(0xff));
        assert!(decode_header(&good).is_ok());
        let sum = Header::from_byte_slice(&good).cksum().expect("a checksum");
        for (stated, accepted) in [(sum - 512, true), (sum - 256, false), (sum + 1, false)] {
            let mut changed = good;
            changed[148..156].copy_from_slice(format!("{stated:07o}\0").as_bytes());
            assert_eq!(decode_header(&changed).is_ok(), accepted);
        }
    }

    #[test]
    fn the_prefix_counts_whatever_the_version_of_a_ustar_header() {
        for version in [b"00", b"\0\0"] {
            let block = block(&[0; 12], |header| {
                header.as_mut_bytes()[263..265].copy_from_slice(version);
                header.as_mut_bytes()[345..351].copy_from_slice(b"folder");
            });
            let found = decode_header(&block).expect("a header").expect("an entry");
            assert_eq!(found.name, b"folder/name");
        }
    }
}
