//! By which a request is found again: in its answer, in log lines, in the job that it asked for and in
//! the traces of other services. What comes from outside is taken only when it can do no harm in a log.

use std::fmt;

/// The name of a request: 1 to 64 characters out of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    text: [u8; Self::LENGTH_MAX],
    length: usize,
}

impl RequestId {
    /// The longest, in characters.
    pub const LENGTH_MAX: usize = 64;

    /// Takes a name that somebody else gave.
    pub fn parse(text: &str) -> Option<Self> {
        let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !(1..=Self::LENGTH_MAX).contains(&text.len()) || !text.bytes().all(harmless) {
            return None;
        }
        let mut kept = [0; Self::LENGTH_MAX];
        kept.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self {
            text: kept,
            length: text.len(),
        })
    }

    /// Makes a name of 32 hexadecimal digits out of a random number.
    pub fn from_random(number: u128) -> Self {
        let mut text = [0; Self::LENGTH_MAX];
        let length = 32;
        for (digit, byte) in (0_u32..).zip(text.iter_mut().take(length)) {
            let nibble = (number >> (124 - 4 * digit)) & 0xf;
            *byte = b"0123456789abcdef"[nibble as usize];
        }
        Self { text, length }
    }

    /// Returns the name as text.
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

/// The step of another service's trace that something belongs to, as in the header `traceparent` of the
/// W3C: `00-<trace, 32 digits>-<step, 16 digits>-<flags, 2 digits>`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceParent([u8; Self::LENGTH]);

impl TraceParent {
    const LENGTH: usize = 55;

    /// Reads a header. A later version may say more behind what is known here.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let known: [u8; Self::LENGTH] = bytes.get(..Self::LENGTH)?.try_into().ok()?;
        let digits = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        let is_zero = |part: &[u8]| part.iter().all(|byte| *byte == b'0');
        let part = |from: usize, to: usize| known.get(from..to).unwrap_or_default();
        let (version, trace, step) = (part(0, 2), part(3, 35), part(36, 52));
        let is_well = [version, trace, step, part(53, 55)]
            .iter()
            .all(|part| part.iter().all(digits))
            && [2, 35, 52].iter().all(|at| known.get(*at) == Some(&b'-'))
            && !is_zero(trace)
            && !is_zero(step)
            && version != b"ff";
        let more = bytes.get(Self::LENGTH);
        let ends_well = match more {
            None => true,
            Some(separator) => version != b"00" && *separator == b'-',
        };
        (is_well && ends_well).then_some(Self(known))
    }

    /// Returns the header.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Returns the trace's name, 32 hexadecimal digits.
    pub fn trace_id(&self) -> &str {
        self.as_str().get(3..35).unwrap_or_default()
    }
}

impl fmt::Debug for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceParent({})", self.as_str())
    }
}

/// What a request is found by; a job carries it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The request's name.
    pub request: RequestId,
    /// Where it belongs in the trace of a caller, or of our own.
    pub parent: Option<TraceParent>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_outside_are_short_and_harmless() {
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
    fn names_of_our_own_are_32_digits() {
        let id = RequestId::from_random(0x00ff_0000_0000_0000_0000_0000_0000_00a1);
        assert_eq!(id.as_str(), "00ff00000000000000000000000000a1");
        assert_eq!(RequestId::parse(id.as_str()), Some(id));
    }

    #[test]
    fn a_step_of_a_trace_is_taken_only_when_it_is_one() {
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
