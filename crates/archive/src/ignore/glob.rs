//! Reads wildcards as git does (`wildmatch` with `WM_PATHNAME`), and writes them as globs of the
//! crate globset.
//!
//! The two languages differ: globset has alternatives in braces, its classes have no escapes, and
//! it refuses what git merely never matches. So nothing is passed on as it was typed. A glob is
//! written from tokens, and only ever for one name between slashes.

use std::fmt::Write as _;

/// One token of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Char(char),
    /// `?`: one byte.
    Any,
    /// `[…]`: one byte of a class.
    Class(Class),
    /// `*`: any bytes except a slash.
    Star,
    /// `**` alone between slashes: any bytes.
    Everything,
    /// `**/`: nothing, or any bytes up to and including a slash.
    Folders,
    Slash,
}

/// Reads a pattern. Returns `None` if git matches nothing: a class or an escape has no end, or a
/// class has an unknown name.
///
/// In a pattern for names (`is_path` is false), `**` is an ordinary star.
pub(super) fn tokens(pattern: &str, is_path: bool) -> Option<Vec<Token>> {
    let special = |char: char| matches!(char, '*' | '?' | '[' | '\\');
    // git compares the text before the first special character on its own, and passes the rest to
    // `wildmatch`.
    let literal_end = pattern.find(special).unwrap_or(pattern.len());
    let bytes = pattern.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(char) = pattern[at..].chars().next() {
        match char {
            '*' => {
                let start = at;
                while bytes.get(at) == Some(&b'*') {
                    at += 1;
                }
                let opens = start == literal_end || bytes[start - 1] == b'/';
                let rest = &bytes[at..];
                let alone = rest.is_empty() || rest[0] == b'/' || rest.starts_with(b"\\/");
                if !(is_path && at - start >= 2 && opens && alone) {
                    tokens.push(Token::Star);
                } else if rest.first() == Some(&b'/') {
                    at += 1;
                    tokens.push(Token::Folders);
                } else {
                    tokens.push(Token::Everything);
                }
                continue;
            }
            '?' => tokens.push(Token::Any),
            '[' => {
                let (class, end) = Class::parse(pattern, at)?;
                tokens.push(Token::Class(class));
                at = end;
                continue;
            }
            '\\' => {
                at += 1;
                let escaped = pattern[at..].chars().next()?;
                tokens.push(literal(escaped));
                at += escaped.len_utf8();
                continue;
            }
            char => tokens.push(literal(char)),
        }
        at += char.len_utf8();
    }
    Some(tokens)
}

fn literal(char: char) -> Token {
    match char {
        '/' => Token::Slash,
        char => Token::Char(char),
    }
}

/// Writes the tokens of a name (no slashes, no `**`) as a glob that globset can read in one way
/// only.
pub(super) fn write_name(tokens: &[Token]) -> String {
    let mut glob = String::new();
    for (number, token) in tokens.iter().enumerate() {
        match token {
            Token::Char(char) => {
                if matches!(char, '*' | '?' | '[' | ']' | '{' | '}' | ',' | '\\') {
                    glob.push('\\');
                }
                glob.push(*char);
            }
            Token::Any => glob.push('?'),
            Token::Class(class) => class.write(&mut glob),
            Token::Star if glob.ends_with('*') && tokens[number - 1] == Token::Star => {}
            Token::Star => glob.push('*'),
            // A name holds none of these.
            Token::Everything | Token::Folders | Token::Slash => {}
        }
    }
    glob
}

/// A class of bytes.
///
/// git compares classes byte by byte, so `[é]` is a class of two bytes. globset writes the
/// characters of a class as their bytes too: the range from `a` to `é` becomes `a` to the first
/// byte of `é`, and its second byte. That is what git reads from `[a-é]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Class {
    negated: bool,
    ascii: [bool; 128],
    /// Ranges that end in a character outside of ASCII.
    ranges: Vec<(char, char)>,
}

impl Class {
    /// Parses the class that starts at `open`. Returns it with the position after its end.
    fn parse(pattern: &str, open: usize) -> Option<(Self, usize)> {
        let mut class = Self {
            negated: false,
            ascii: [false; 128],
            ranges: Vec::new(),
        };
        let bytes = pattern.as_bytes();
        let char_at = |at: usize| pattern.get(at..)?.chars().next();
        let mut at = open + 1;
        if matches!(bytes.get(at), Some(b'!' | b'^')) {
            class.negated = true;
            at += 1;
        }
        // The last byte before a `-`, unless it ended a range.
        let mut previous: Option<u8> = None;
        loop {
            let char = char_at(at)?;
            let next = bytes.get(at + 1);
            if char == '-' && previous.is_some() && next.is_some_and(|&next| next != b']') {
                at += 1;
                if bytes.get(at) == Some(&b'\\') {
                    at += 1;
                }
                let last = char_at(at)?;
                class.add_range(previous?, last);
                previous = last_byte(last).filter(|byte| !byte.is_ascii());
                at += last.len_utf8();
            } else if char == '[' && next == Some(&b':') {
                let start = at + 2;
                let end = start + bytes.get(start..)?.iter().position(|&byte| byte == b']')?;
                if end > start && bytes[end - 1] == b':' {
                    class.add_named(&pattern[start..end - 1])?;
                    previous = None;
                    at = end + 1;
                } else {
                    class.add(char);
                    previous = last_byte(char);
                    at += 1;
                }
            } else {
                let mut member = char;
                if char == '\\' {
                    at += 1;
                    member = char_at(at)?;
                }
                class.add(member);
                previous = last_byte(member);
                at += member.len_utf8();
            }
            if bytes.get(at) == Some(&b']') {
                return Some((class, at + 1));
            }
        }
    }

    fn add(&mut self, char: char) {
        match self.ascii.get_mut(char as usize) {
            Some(member) => *member = true,
            None => self.ranges.push((char, char)),
        }
    }

    /// Adds the bytes from `first` to the first byte of `last`, and the other bytes of `last`.
    fn add_range(&mut self, first: u8, last: char) {
        for byte in first..128 {
            if u32::from(byte) <= u32::from(last) {
                self.ascii[usize::from(byte)] = true;
            }
        }
        if last.is_ascii() {
            return;
        }
        if first.is_ascii() {
            self.ranges.push(('\x7f', last));
        } else {
            // The second byte of `char::from(first)` is `first`, and its first byte lies between
            // `first` and the first byte of any other character.
            self.ranges.push((char::from(first), last.max('\u{bf}')));
            self.ranges.push((last, last));
        }
    }

    /// Adds the bytes of a class such as `[:alpha:]`. Returns `None` if its name is unknown.
    fn add_named(&mut self, name: &str) -> Option<()> {
        let is_member: fn(&u8) -> bool = match name {
            "alnum" => u8::is_ascii_alphanumeric,
            "alpha" => u8::is_ascii_alphabetic,
            "blank" => |byte| matches!(byte, b' ' | b'\t'),
            "cntrl" => u8::is_ascii_control,
            "digit" => u8::is_ascii_digit,
            "graph" => u8::is_ascii_graphic,
            "lower" => u8::is_ascii_lowercase,
            "print" => |byte| matches!(byte, b' '..=b'~'),
            "punct" => u8::is_ascii_punctuation,
            "space" => |byte| matches!(byte, b' ' | 9..=13),
            "upper" => u8::is_ascii_uppercase,
            "xdigit" => u8::is_ascii_hexdigit,
            _ => return None,
        };
        for (byte, member) in (0_u8..).zip(&mut self.ascii) {
            *member |= is_member(&byte);
        }
        Some(())
    }

    /// Writes the class. Its order leaves one reading: `]` first, `-` last, and a slash before any
    /// `!` or `^`. The slash matches nothing, because a name holds none.
    fn write(&self, glob: &mut String) {
        let has = |char: char| self.ascii[char as usize];
        glob.push_str(if self.negated { "[^" } else { "[" });
        if has(']') {
            glob.push(']');
        }
        glob.push('/');
        let listed = |byte: u8| {
            self.ascii.get(usize::from(byte)) == Some(&true) && !matches!(byte, 0 | b']' | b'-')
        };
        let mut byte = 1;
        while byte < 128 {
            let start = byte;
            while listed(byte) {
                byte += 1;
            }
            if byte > start {
                write_range(glob, char::from(start), char::from(byte - 1));
            }
            byte += 1;
        }
        for &(first, last) in &self.ranges {
            write_range(glob, first, last);
        }
        if has('-') {
            glob.push('-');
        }
        glob.push(']');
    }
}

fn write_range(glob: &mut String, first: char, last: char) {
    // Writing to a string cannot fail.
    let _ = match first == last {
        true => write!(glob, "{first}"),
        false => write!(glob, "{first}-{last}"),
    };
}

fn last_byte(char: char) -> Option<u8> {
    char.encode_utf8(&mut [0; 4]).bytes().last()
}
