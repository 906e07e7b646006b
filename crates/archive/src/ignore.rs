//! Which entries are left out: gitignore semantics, with re-inclusion that works.
//!
//! The last pattern that matches an entry decides; below a folder that is left out nothing is looked
//! at. One thing is kinder than git: where a folder was only swept out by a pattern that ends in `*`
//! (as in `*` followed by `!keep/sub`), a later negation with a slash still reaches what lies below it,
//! and the folders on the way to it are kept. A folder that a pattern names is left out whole.

mod glob;
mod pattern;
mod pteroignore;

pub use pteroignore::{Pteroignore, read_pteroignore};

use pattern::Pattern;

use crate::Error;
use crate::error::lossy;

/// The most patterns in one list, comments not counted.
const MOST_PATTERNS: usize = 256;

/// A compiled ignore list.
#[derive(Debug, Default)]
pub struct IgnoreRules {
    patterns: Vec<Pattern>,
    unused_list: Option<String>,
}

/// What the rules say of one entry, and what its children have to know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The entry is left out itself.
    pub(crate) left_out: bool,
    swept: Option<Swept>,
}

/// The entry lies in (or is) a folder that a `*` swept out, and a later negation may still reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Swept {
    /// The pattern that swept the folder out; only later ones can take it back.
    since: usize,
    /// The last pattern that matched the entry or a folder above it.
    last: usize,
}

impl Verdict {
    /// Says whether a folder has to be read although it may be left out itself.
    pub(crate) fn looks_inside(self) -> bool {
        !self.left_out || self.swept.is_some()
    }
}

impl IgnoreRules {
    /// Compiles patterns, one a line, in the order of their precedence (the last one wins).
    ///
    /// # Errors
    ///
    /// [`Error::Pattern`] with more than 256 patterns, one longer than 1024 bytes, with more than 64
    /// wildcards or with a NUL byte.
    pub fn new(patterns: &[String]) -> Result<Self, Error> {
        let mut compiled = Vec::new();
        let lines = patterns.iter().flat_map(|line| line.split('\n'));
        for (number, line) in lines.enumerate() {
            let line = if number == 0 {
                line.strip_prefix('\u{feff}').unwrap_or(line)
            } else {
                line
            };
            let Some(pattern) = Pattern::parse(line.as_bytes())? else {
                continue;
            };
            if compiled.len() == MOST_PATTERNS {
                let reason = format!("there are more than {MOST_PATTERNS} patterns");
                return Err(refuse(line.as_bytes(), reason));
            }
            compiled.push(pattern);
        }
        Ok(Self {
            patterns: compiled,
            unused_list: None,
        })
    }

    /// Makes rules that leave nothing out.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Lets the notes of an archive tell why the `.pteroignore` of its source was not used, if so.
    #[must_use]
    pub fn noting(mut self, unused: Option<String>) -> Self {
        self.unused_list = unused;
        self
    }

    /// Why the source's own list was not used.
    pub(crate) fn unused_list(&self) -> Option<&str> {
        self.unused_list.as_deref()
    }

    /// Decides about an entry below a folder with the verdict `parent`.
    pub(crate) fn decide(&self, path: &[u8], is_directory: bool, parent: Verdict) -> Verdict {
        if self.patterns.is_empty() {
            return Verdict::default();
        }
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
        let own = self
            .patterns
            .iter()
            .rposition(|pattern| pattern.matches(path, name, is_directory));
        let Some(swept) = parent.swept else {
            return match own {
                Some(index) if !self.patterns[index].negated => {
                    self.left_out(path, is_directory, index)
                }
                _ => Verdict::default(),
            };
        };
        // Below a swept folder: a negation counts if it is later than the sweep and has a slash.
        let reaches = |index: usize| {
            let pattern = &self.patterns[index];
            !pattern.negated || (pattern.anchored && index > swept.since)
        };
        let own = (0..self.patterns.len()).rev().find(|&index| {
            reaches(index) && self.patterns[index].matches(path, name, is_directory)
        });
        let last = own.map_or(swept.last, |index| index.max(swept.last));
        if self.patterns[last].negated {
            return Verdict {
                left_out: false,
                swept: Some(Swept {
                    since: swept.since,
                    last,
                }),
            };
        }
        self.left_out(path, is_directory, last)
    }

    fn left_out(&self, path: &[u8], is_directory: bool, index: usize) -> Verdict {
        let reachable = is_directory
            && self.patterns[index].sweeps
            && self.patterns[index + 1..]
                .iter()
                .any(|later| later.negated && later.anchored && later.may_match_below(path));
        let swept = reachable.then_some(Swept {
            since: index,
            last: index,
        });
        Verdict {
            left_out: true,
            swept,
        }
    }
}

fn refuse(pattern: &[u8], reason: String) -> Error {
    const SHOWN: usize = 80;
    let shown = &pattern[..pattern.len().min(SHOWN)];
    Error::Pattern {
        pattern: lossy(shown),
        reason,
    }
}
