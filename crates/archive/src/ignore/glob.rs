//! Wildcards as git reads them (`wildmatch` with `WM_PATHNAME`), matched in polynomial time.
//!
//! Each star remembers where it has failed already, so that `*a*a*a*b` costs stars × length and
//! never more: patterns come from strangers.

/// One compiled wildcard pattern.
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
    /// `*`: anything without a slash. The number counts stars, for the memory of failures.
    Star(usize),
    /// `**` standing alone between slashes: anything at all.
    Everything(usize),
    /// `**/`: nothing, or anything up to and including a slash.
    Folders(usize),
    /// A broken class or escape: git lets such a pattern match nothing.
    Never,
}

impl Glob {
    /// Compiles what `git` would hand to `wildmatch`: the pattern after its literal prefix.
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
                b'[' => match class(pattern, at) {
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

    pub(super) fn matches(&self, text: &[u8]) -> bool {
        // With at most two stars there is nothing to remember: every state is met once a position.
        let slots = if self.stars > 2 {
            self.stars * (text.len() + 1)
        } else {
            0
        };
        let mut failed = vec![false; slots];
        self.run(0, text, 0, &mut failed)
    }

    fn run(&self, mut token: usize, text: &[u8], mut at: usize, failed: &mut [bool]) -> bool {
        while let Some(expected) = self.tokens.get(token) {
            let here = text.get(at).copied();
            let one = match expected {
                Token::Byte(byte) => here == Some(*byte),
                Token::Any => here.is_some_and(|byte| byte != b'/'),
                Token::Set(set) => here.is_some_and(|byte| byte != b'/' && set[usize::from(byte)]),
                Token::Never => false,
                Token::Star(star) => return self.star(token, *star, false, text, at, failed),
                Token::Everything(star) => return self.star(token, *star, true, text, at, failed),
                Token::Folders(star) => {
                    if self.rest(token, *star, text, at, failed) {
                        return true;
                    }
                    return (at..text.len()).any(|slash| {
                        text[slash] == b'/' && self.rest(token, *star, text, slash + 1, failed)
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

    fn star(
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
            if self.rest(token, star, text, at, failed) {
                return true;
            }
            if at == text.len() || (!slashes && text[at] == b'/') {
                return false;
            }
            at += 1;
        }
    }

    /// Tries what follows a star at one place, unless that has failed before.
    fn rest(&self, token: usize, star: usize, text: &[u8], at: usize, failed: &mut [bool]) -> bool {
        let slot = star * (text.len() + 1) + at;
        if failed.get(slot).copied().unwrap_or(false) {
            return false;
        }
        if self.run(token + 1, text, at, failed) {
            return true;
        }
        if let Some(seen) = failed.get_mut(slot) {
            *seen = true;
        }
        false
    }
}

/// Reads the class that opens at `open`; returns its bytes and the place of its closing bracket.
fn class(pattern: &[u8], open: usize) -> Option<(Box<[bool; 256]>, usize)> {
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
                named_class(&pattern[start..end - 1], &mut set)?;
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

fn named_class(name: &[u8], set: &mut [bool; 256]) -> Option<()> {
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
