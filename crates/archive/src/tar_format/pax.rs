//! PAX extended headers: records of the form `length key=value\n`.

use std::io;

use super::Time;

/// Builds the records of one extended header.
#[derive(Default)]
pub(super) struct PaxRecords {
    text: Vec<u8>,
    has_charset: bool,
}

impl PaxRecords {
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        // The length includes its own digits.
        let bare = key.len() + value.len() + 3;
        let mut length = bare + digits(bare);
        if digits(length) != digits(bare) {
            length = bare + digits(length);
        }
        self.text.extend_from_slice(length.to_string().as_bytes());
        self.text.push(b' ');
        self.text.extend_from_slice(key);
        self.text.push(b'=');
        self.text.extend_from_slice(value);
        self.text.push(b'\n');
    }

    /// Adds a name. The first name that is not UTF-8 declares the header as raw bytes.
    pub(super) fn add_name(&mut self, key: &[u8], value: &[u8]) {
        if !self.has_charset && std::str::from_utf8(value).is_err() {
            self.has_charset = true;
            let before = std::mem::take(&mut self.text);
            self.add(b"hdrcharset", b"BINARY");
            self.text.extend_from_slice(&before);
        }
        self.add(key, value);
    }

    /// Returns the bytes of the header.
    pub(super) fn finish(self) -> Vec<u8> {
        self.text
    }
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

/// Formats a time as decimal seconds, without trailing zeros.
pub(super) fn format_time(time: Time) -> String {
    let (sign, seconds, nanoseconds) = if time.seconds < 0 && time.nanoseconds > 0 {
        (
            "-",
            (time.seconds + 1).unsigned_abs(),
            1_000_000_000 - time.nanoseconds,
        )
    } else {
        (
            if time.seconds < 0 { "-" } else { "" },
            time.seconds.unsigned_abs(),
            time.nanoseconds,
        )
    };
    let text = format!("{sign}{seconds}.{nanoseconds:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Parses a time. Digits beyond nanoseconds are dropped.
pub(super) fn parse_time(text: &[u8]) -> io::Result<Time> {
    let malformed = || invalid("a PAX time is not a number");
    let text = std::str::from_utf8(text).map_err(|_| malformed())?;
    let (negative, text) = text
        .strip_prefix('-')
        .map_or((false, text), |rest| (true, rest));
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut all_digits = seconds.bytes().chain(fraction.bytes());
    if seconds.is_empty() || !all_digits.all(|byte| byte.is_ascii_digit()) {
        return Err(malformed());
    }
    let seconds: i64 = seconds.parse().map_err(|_| malformed())?;
    let mut nanoseconds = 0;
    for place in 0..9 {
        let digit = fraction.as_bytes().get(place);
        nanoseconds = nanoseconds * 10 + digit.map_or(0, |digit| u32::from(digit - b'0'));
    }
    Ok(match (negative, nanoseconds) {
        (false, _) => Time {
            seconds,
            nanoseconds,
        },
        (true, 0) => Time {
            seconds: -seconds,
            nanoseconds,
        },
        (true, _) => Time {
            seconds: -seconds - 1,
            nanoseconds: 1_000_000_000 - nanoseconds,
        },
    })
}

/// Parses a decimal number.
pub(super) fn parse_number(text: &[u8]) -> io::Result<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(invalid("a PAX number is not a number"));
    }
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| invalid("a PAX number is too large"))
}

/// Parses an extended header and passes each key and value to `each`.
pub(super) fn parse<'a>(
    mut text: &'a [u8],
    mut each: impl FnMut(&'a [u8], &'a [u8]) -> io::Result<()>,
) -> io::Result<()> {
    let malformed = || invalid("a PAX record is malformed");
    while !text.is_empty() {
        // Some writers pad with NULs and count them in the size of the header.
        if text.iter().all(|&byte| byte == 0) {
            return Ok(());
        }
        let space = text
            .iter()
            .take(20)
            .position(|&byte| byte == b' ')
            .ok_or_else(malformed)?;
        let length = parse_number(&text[..space]).map_err(|_| malformed())?;
        let length = usize::try_from(length).map_err(|_| malformed())?;
        if length <= space + 2 || length > text.len() || text[length - 1] != b'\n' {
            return Err(malformed());
        }
        let record = &text[space + 1..length - 1];
        let equals = record
            .iter()
            .position(|&byte| byte == b'=')
            .ok_or_else(malformed)?;
        each(&record[..equals], &record[equals + 1..])?;
        text = &text[length..];
    }
    Ok(())
}

/// Returns the error for a malformed archive.
pub(super) fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.to_owned())
}
