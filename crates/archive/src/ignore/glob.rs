//! Matches wildcards as git does (`wildmatch` with `WM_PATHNAME`), in bounded time.
//!
//! Users choose the patterns, so a pattern must not be able to stall a backup. Each star remembers
//! the positions at which it has failed, so a match takes at most stars × length steps.

/// A compiled wildcard pattern.
#[derive(Debug)]
pub(super) struct Glob {
    tokens: Vec<Token>,
    stars: usize,
}

#[derive(Debug)]
enum Token {
    Byte(u8),
    /// `?`: one byte, never a slash.
    Any,
    /// `[…]`: one byte of the set, never a slash.
    Set(Box<[bool; 256]>),
    /// `*`: any bytes except a slash. The number of the star is its index in the table of failures.
    Star(usize),
    /// `**` alone between slashes: any bytes.
    Everything(usize),
    /// `**/`: nothing, or any bytes up to and including a slash.
    Folders(usize),
    /// An invalid class or escape: git matches nothing.
    Never,
}

impl Glob {
    /// Compiles the part of a pattern that git passes to `wildmatch`: the rest after its literal
    /// prefix.
    pub(super) fn new(pattern: &[u8]) -> Self {
        let mut tokens = Vec::new();
        let mut stars = 0;
        let mut at = 0;
        while at < pattern.len() {
            match pattern[at] {
                b'*' => {
                    let start = at;
                    while pattern.get(at) == Some(&b'*') {
                        at += 1;
                    }
                    let opens = start == 0 || pattern[start - 1] == b'/';
                    let rest = &pattern[at..];
                    let alone = rest.is_empty() || rest[0] == b'/' || rest.starts_with(b"\\/");
                    if at - start >= 2 && opens && alone {
                        if rest.first() == Some(&b'/') {
                            at += 1;
                            tokens.push(Token::Folders(stars));
                        } else {
                            tokens.push(Token::Everything(stars));
                        }
                    } else {
                        tokens.push(Token::Star(stars));
                    }
                    stars += 1;
                    continue;
                }
                b'?' => tokens.push(Token::Any),
                b'\\' => {
                    at += 1;
                    tokens.push(
                        pattern
                            .get(at)
                            .map_or(Token::Never, |&byte| Token::Byte(byte)),
                    );
                }
                b'[' => match parse_class(pattern, at) {
                    Some((set, last)) => {
                        tokens.push(Token::Set(set));
                        at = last;
                    }
                    None => {
                        tokens.push(Token::Never);
                        break;
                    }
                },
                byte => tokens.push(Token::Byte(byte)),
            }
            at += 1;
        }
        Self { tokens, stars }
    }

    /// Returns whether the pattern matches all of `text`.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        // With at most two stars, no state is reached twice, so there is nothing to remember.
        let slots = if self.stars > 2 {
            self.stars * (text.len() + 1)
        } else {
            0
        };
        let mut failed = vec![false; slots];
        self.match_from(0, text, 0, &mut failed)
    }

    /// Matches the tokens from `token` on with the text from `at` on.
    fn match_from(
        &self,
        mut token: usize,
        text: &[u8],
        mut at: usize,
        failed: &mut [bool],
    ) -> bool {
        while let Some(expected) = self.tokens.get(token) {
            let here = text.get(at).copied();
            let one = match expected {
                Token::Byte(byte) => here == Some(*byte),
                Token::Any => here.is_some_and(|byte| byte != b'/'),
                Token::Set(set) => here.is_some_and(|byte| byte != b'/' && set[usize::from(byte)]),
                Token::Never => false,
                Token::Star(star) => return self.match_star(token, *star, false, text, at, failed),
                Token::Everything(star) => {
                    return self.match_star(token, *star, true, text, at, failed);
                }
                Token::Folders(star) => {
                    if self.match_rest(token, *star, text, at, failed) {
                        return true;
                    }
                    return (at..text.len()).any(|slash| {
                        text[slash] == b'/'
                            && self.match_rest(token, *star, text, slash + 1, failed)
                    });
                }
            };
            if !one {
                return false;
            }
            token += 1;
            at += 1;
        }
        at == text.len()
    }

    /// Matches a star at `at`; `slashes` tells whether it matches slashes too.
    fn match_star(
        &self,
        token: usize,
        star: usize,
        slashes: bool,
        text: &[u8],
        mut at: usize,
        failed: &mut [bool],
    ) -> bool {
        if token + 1 == self.tokens.len() {
            return slashes || !text[at..].contains(&b'/');
        }
        loop {
            if self.match_rest(token, star, text, at, failed) {
                return true;
            }
            if at == text.len() || (!slashes && text[at] == b'/') {
                return false;
            }
            at += 1;
        }
    }

    /// Matches the tokens after a star from one position on, unless that has failed before.
    fn match_rest(
        &self,
        token: usize,
        star: usize,
        text: &[u8],
        at: usize,
        failed: &mut [bool],
    ) -> bool {
        let slot = star * (text.len() + 1) + at;
        if failed.get(slot).copied().unwrap_or(false) {
            return false;
        }
        if self.match_from(token + 1, text, at, failed) {
            return true;
        }
        if let Some(seen) = failed.get_mut(slot) {
            *seen = true;
        }
        false
    }
}

/// Parses the class that starts at `open`. Returns its bytes and the position of its closing
/// bracket.
fn parse_class(pattern: &[u8], open: usize) -> Option<(Box<[bool; 256]>, usize)> {
    let mut set = Box::new([false; 256]);
    let mut at = open + 1;
    let negated = matches!(pattern.get(at), Some(b'!' | b'^'));
    if negated {
        at += 1;
    }
    let mut previous = 0_u8;
    let mut byte = *pattern.get(at)?;
    loop {
        let mut this = byte;
        if byte == b'\\' {
            at += 1;
            this = *pattern.get(at)?;
            set[usize::from(this)] = true;
        } else if byte == b'-' && previous != 0 && pattern.get(at + 1).is_some_and(|&b| b != b']') {
            at += 1;
            let mut last = *pattern.get(at)?;
            if last == b'\\' {
                at += 1;
                last = *pattern.get(at)?;
            }
            for member in previous..=last {
                set[usize::from(member)] = true;
            }
            this = 0;
        } else if byte == b'[' && pattern.get(at + 1) == Some(&b':') {
            let start = at + 2;
            let end = start + pattern.get(start..)?.iter().position(|&b| b == b']')?;
            if end > start && pattern[end - 1] == b':' {
                add_named_class(&pattern[start..end - 1], &mut set)?;
                at = end;
                this = 0;
            } else {
                set[usize::from(b'[')] = true;
            }
        } else {
            set[usize::from(byte)] = true;
        }
        previous = this;
        at += 1;
        byte = *pattern.get(at)?;
        if byte == b']' {
            break;
        }
    }
    if negated {
        for member in set.iter_mut() {
            *member = !*member;
        }
    }
    Some((set, at))
}

/// Adds the bytes of a class such as `[:alpha:]`. Returns `None` if its name is unknown.
fn add_named_class(name: &[u8], set: &mut [bool; 256]) -> Option<()> {
    let member: fn(&u8) -> bool = match name {
        b"alnum" => u8::is_ascii_alphanumeric,
        b"alpha" => u8::is_ascii_alphabetic,
        b"blank" => |byte| matches!(byte, b' ' | b'\t'),
        b"cntrl" => u8::is_ascii_control,
        b"digit" => u8::is_ascii_digit,
        b"graph" => u8::is_ascii_graphic,
        b"lower" => u8::is_ascii_lowercase,
        b"print" => |byte| matches!(byte, b' '..=b'~'),
        b"punct" => u8::is_ascii_punctuation,
        b"space" => |byte| matches!(byte, b' ' | 9..=13),
        b"upper" => u8::is_ascii_uppercase,
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => return None,
    };
    for byte in 0..=255_u8 {
        set[usize::from(byte)] |= member(&byte);
    }
    Some(())
}
