//! Parses one line of an ignore list, as git parses a line of `.gitignore`.

use super::glob::Glob;
use crate::Error;

/// The longest pattern, in bytes.
const MAX_LENGTH: usize = 1024;
/// The most wildcards (`*`, `?`, `[`) in one pattern.
const MAX_WILDCARDS: usize = 64;

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Pattern {
    /// Whether it starts with `!` and includes entries again.
    pub(super) negated: bool,
    /// Whether it has a slash at its start or inside, and so matches from the root.
    pub(super) anchored: bool,
    /// Whether its last part is `*` or `**`.
    pub(super) ends_in_star: bool,
    folders_only: bool,
    /// The pattern up to its first special character.
    literal: Vec<u8>,
    rest: Rest,
    /// The parts of an anchored negation, to decide which folders it may match below.
    parts: Vec<Part>,
}

/// What follows the literal.
#[derive(Debug)]
enum Rest {
    /// Nothing: the literal is the whole pattern.
    Nothing,
    /// `*` and another literal, which the name must end with.
    EndsWith(Vec<u8>),
    Glob(Glob),
}

/// One part between slashes.
#[derive(Debug)]
enum Part {
    /// Any number of folders.
    Folders,
    Glob(Glob),
}

impl Pattern {
    /// Parses a line. Returns `None` for blank lines and comments.
    pub(super) fn parse(line: &[u8]) -> Result<Option<Self>, Error> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || line[0] == b'#' {
            return Ok(None);
        }
        let mut text = trim_trailing_spaces(line);
        let negated = text.first() == Some(&b'!');
        if negated {
            text = &text[1..];
        }
        check_limits(line, text)?;
        let folders_only = text.last() == Some(&b'/');
        if folders_only {
            text = &text[..text.len() - 1];
        }
        if text.is_empty() {
            return Ok(None);
        }
        let anchored = text.contains(&b'/');
        if anchored {
            text = text.strip_prefix(b"/").unwrap_or(text);
        }
        let special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'\\');
        let literal_length = text.iter().position(special).unwrap_or(text.len());
        let (literal, wild) = text.split_at(literal_length);
        let rest = if wild.is_empty() {
            Rest::Nothing
        } else if !anchored
            && literal.is_empty()
            && wild[0] == b'*'
            && !wild[1..].iter().any(special)
        {
            Rest::EndsWith(wild[1..].to_vec())
        } else {
            Rest::Glob(Glob::new(wild))
        };
        let last = text.rsplit(|&byte| byte == b'/').next().unwrap_or(text);
        let ends_in_star = last.iter().all(|&byte| byte == b'*');
        let parts = if negated && anchored {
            split_parts(text)
        } else {
            Vec::new()
        };
        Ok(Some(Self {
            negated,
            anchored,
            ends_in_star,
            folders_only,
            literal: literal.to_vec(),
            rest,
            parts,
        }))
    }

    /// Returns whether the pattern matches this path. The caller must check the folders above it.
    pub(super) fn matches(&self, path: &[u8], name: &[u8], is_directory: bool) -> bool {
        if self.folders_only && !is_directory {
            return false;
        }
        let text = if self.anchored { path } else { name };
        let Some(text) = text.strip_prefix(self.literal.as_slice()) else {
            return false;
        };
        match &self.rest {
            Rest::Nothing => text.is_empty(),
            Rest::EndsWith(end) => text.ends_with(end),
            Rest::Glob(glob) => glob.matches(text),
        }
    }

    /// Returns whether the pattern may match an entry below this folder.
    pub(super) fn may_match_below(&self, folder: &[u8]) -> bool {
        let mut parts = self.parts.iter();
        for name in folder.split(|&byte| byte == b'/') {
            match parts.next() {
                None => return false,
                Some(Part::Folders) => return true,
                Some(Part::Glob(glob)) => {
                    if !glob.matches(name) {
                        return false;
                    }
                }
            }
        }
        parts.next().is_some()
    }
}

/// Splits the text of a pattern at its slashes.
fn split_parts(text: &[u8]) -> Vec<Part> {
    let spans_slash = text.windows(2).any(|pair| pair == b"\\/") || text.contains(&b'[');
    let mut parts = Vec::new();
    for part in text.split(|&byte| byte == b'/') {
        // A class or an escape may contain a slash. Then any folder may match.
        if spans_slash || part.windows(2).any(|pair| pair == b"**") {
            parts.push(Part::Folders);
            break;
        }
        parts.push(Part::Glob(Glob::new(part)));
    }
    parts
}

fn check_limits(line: &[u8], text: &[u8]) -> Result<(), Error> {
    let wildcards = text
        .iter()
        .filter(|byte| matches!(byte, b'*' | b'?' | b'['))
        .count();
    let reason = if text.len() > MAX_LENGTH {
        format!("it is longer than {MAX_LENGTH} bytes")
    } else if wildcards > MAX_WILDCARDS {
        format!("it has more than {MAX_WILDCARDS} wildcards")
    } else if text.contains(&0) {
        "it holds a NUL byte".to_owned()
    } else {
        return Ok(());
    };
    Err(super::refuse(line, reason))
}

/// Removes trailing spaces that are not escaped, as git does.
fn trim_trailing_spaces(line: &[u8]) -> &[u8] {
    let mut end = None;
    let mut at = 0;
    while at < line.len() {
        match line[at] {
            b' ' => {
                end.get_or_insert(at);
            }
            b'\\' => {
                at += 1;
                if at == line.len() {
                    return line;
                }
                end = None;
            }
            _ => end = None,
        }
        at += 1;
    }
    &line[..end.unwrap_or(line.len())]
}
