//! Request IDs and W3C trace contexts, which connect a request with its answer, its log lines, its
//! job and the traces of other services.
//!
//! Values from clients are accepted only if they are short and safe to log.

use std::fmt;

/// A request ID: 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    text: [u8; Self::LENGTH_MAX],
    length: usize,
}

impl RequestId {
    /// The maximum length, in characters.
    pub const LENGTH_MAX: usize = 64;

    /// Parses a client's request ID.
    pub fn parse(text: &str) -> Option<Self> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !(1..=Self::LENGTH_MAX).contains(&text.len()) || !text.bytes().all(is_allowed) {
            return None;
        }
        let mut buffer = [0; Self::LENGTH_MAX];
        buffer
            .get_mut(..text.len())?
            .copy_from_slice(text.as_bytes());
        Some(Self {
            text: buffer,
            length: text.len(),
        })
    }

    /// Returns an ID of 32 hexadecimal digits, made from a random number.
    pub fn from_random(number: u128) -> Self {
        let mut text = [0; Self::LENGTH_MAX];
        let length = 32;
        for (digit, byte) in (0_u32..).zip(text.iter_mut().take(length)) {
            let nibble = (number >> (124 - 4 * digit)) & 0xf;
            *byte = b"0123456789abcdef"[nibble as usize];
        }
        Self { text, length }
    }

    /// Returns the ID as text.
    pub fn as_str(&self) -> &str {
        let text = self.text.get(..self.length).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

/// The parent span of a request, as in the W3C header `traceparent`:
/// `00-<trace ID, 32 digits>-<span ID, 16 digits>-<flags, 2 digits>`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceParent([u8; Self::LENGTH]);

impl TraceParent {
    const LENGTH: usize = 55;

    /// Parses the header. Versions after `00` may append fields, which are dropped.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let known: [u8; Self::LENGTH] = bytes.get(..Self::LENGTH)?.try_into().ok()?;
        let digits = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        let is_zero = |part: &[u8]| part.iter().all(|byte| *byte == b'0');
        let part = |from: usize, to: usize| known.get(from..to).unwrap_or_default();
        let (version, trace, span) = (part(0, 2), part(3, 35), part(36, 52));
        let is_valid = [version, trace, span, part(53, 55)]
            .iter()
            .all(|part| part.iter().all(digits))
            && [2, 35, 52].iter().all(|at| known.get(*at) == Some(&b'-'))
            && !is_zero(trace)
            && !is_zero(span)
            && version != b"ff";
        let has_valid_end = match bytes.get(Self::LENGTH) {
            None => true,
            Some(separator) => version != b"00" && *separator == b'-',
        };
        (is_valid && has_valid_end).then_some(Self(known))
    }

    /// Returns the header's value.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Returns the trace ID, 32 hexadecimal digits.
    pub fn trace_id(&self) -> &str {
        self.as_str().get(3..35).unwrap_or_default()
    }
}

impl fmt::Debug for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceParent({})", self.as_str())
    }
}

/// The request ID and parent span of a request. Its job stores them too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The request ID.
    pub request: RequestId,
    /// The parent span, of the client or of this service.
    pub parent: Option<TraceParent>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_of_clients_are_short_and_safe_to_log() {
        let longest = "x".repeat(64);
        for good in ["1", "7b0e9c5e-1", "a.B_c-9", longest.as_str()] {
            assert_eq!(
                RequestId::parse(good).map(|id| id.to_string()).as_deref(),
                Some(good)
            );
        }
        let too_long = "x".repeat(65);
        for bad in [
            "",
            " ",
            "a b",
            "a\nb",
            "a\"b",
            "é",
            "a=b",
            too_long.as_str(),
        ] {
            assert_eq!(RequestId::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn generated_request_ids_have_32_digits() {
        let id = RequestId::from_random(0x00ff_0000_0000_0000_0000_0000_0000_00a1);
        assert_eq!(id.as_str(), "00ff00000000000000000000000000a1");
        assert_eq!(RequestId::parse(id.as_str()), Some(id));
    }

    #[test]
    fn only_valid_traceparent_headers_are_accepted() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let parent = TraceParent::parse(good).unwrap();
        assert_eq!(parent.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(parent.as_str(), good);
        let later = format!("cc{}-what-comes", &good[2..]);
        assert!(TraceParent::parse(&later).is_some());
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01",
            "é0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }
}
