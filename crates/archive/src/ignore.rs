//! Decides which entries are excluded, with the rules of gitignore and one extension.
//!
//! The last pattern that matches an entry decides. Nothing below an excluded folder is read. The
//! extension: if a folder was excluded by a pattern that ends in `*`, a later negation with a slash
//! can include entries below it again, together with the folders above them. So `*` followed by
//! `!keep/sub` keeps `keep/sub`. A folder that is excluded by its name stays excluded completely.

mod glob;
mod pattern;
mod pteroignore;

pub use pteroignore::{Pteroignore, read_pteroignore};

use crate::Error;
use crate::error::lossy;

use pattern::Pattern;

/// The most patterns in a list, without comments.
const MAX_PATTERNS: usize = 256;

/// A compiled ignore list.
#[derive(Debug, Default)]
pub struct IgnoreRules {
    patterns: Vec<Pattern>,
    /// The reason why the `.pteroignore` of the source is not used.
    unused_reason: Option<String>,
}

/// The decision about an entry, and what is needed to decide about its children.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    /// Whether the entry itself is excluded.
    pub(crate) excluded: bool,
    reincludable: Option<Reincludable>,
}

/// State of an entry at or below a folder that was excluded by a pattern ending in `*`. A later
/// negation can include it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reincludable {
    /// Index of the pattern that excluded the folder. Only later negations count.
    excluded_by: usize,
    /// Index of the last pattern that matched the entry or a folder above it.
    last_match: usize,
}

impl Decision {
    /// Returns whether a folder must be read, even if it is excluded itself.
    pub(crate) fn must_descend(self) -> bool {
        !self.excluded || self.reincludable.is_some()
    }
}

impl IgnoreRules {
    /// Compiles patterns, one per line. The last pattern that matches decides.
    ///
    /// # Errors
    ///
    /// [`Error::Pattern`] if there are more than 256 patterns, or if one is longer than 1024 bytes,
    /// has more than 64 wildcards or holds a NUL byte.
    ///
    /// # Examples
    ///
    /// ```
    /// use holdfast_archive::{Control, IgnoreRules, scan};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = tempfile::tempdir()?;
    /// # fs_err::create_dir_all(server.path().join("cache"))?;
    /// # fs_err::write(server.path().join("cache/chunk"), "temporary")?;
    /// # fs_err::write(server.path().join("debug.log"), "lines")?;
    /// # fs_err::write(server.path().join("latest.log"), "lines")?;
    /// // Keeps one log file.
    /// let rules = IgnoreRules::new(&["cache/\n*.log\n!latest.log".to_owned()])?;
    /// let totals = scan(server.path(), &rules, &Control::new())?;
    /// assert_eq!(totals.files, 1);
    /// # Ok(())
    /// # }
    /// ```
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
            if compiled.len() == MAX_PATTERNS {
                let reason = format!("there are more than {MAX_PATTERNS} patterns");
                return Err(refuse(line.as_bytes(), reason));
            }
            compiled.push(pattern);
        }
        Ok(Self {
            patterns: compiled,
            unused_reason: None,
        })
    }

    /// Returns rules that exclude nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Sets the reason why the `.pteroignore` of the source is not used, if it is not. The archive
    /// gets a note with this reason.
    #[must_use]
    pub fn with_unused_reason(mut self, reason: Option<String>) -> Self {
        self.unused_reason = reason;
        self
    }

    /// Returns the reason why the `.pteroignore` of the source is not used.
    pub(crate) fn unused_reason(&self) -> Option<&str> {
        self.unused_reason.as_deref()
    }

    /// Decides about an entry. `parent` is the decision about its folder.
    pub(crate) fn decide(&self, path: &[u8], is_directory: bool, parent: Decision) -> Decision {
        if self.patterns.is_empty() {
            return Decision::default();
        }
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
        let own = self
            .patterns
            .iter()
            .rposition(|pattern| pattern.matches(path, name, is_directory));
        let Some(state) = parent.reincludable else {
            return match own {
                Some(index) if !self.patterns[index].negated => {
                    self.exclude(path, is_directory, index)
                }
                _ => Decision::default(),
            };
        };
        // A negation counts if it has a slash and is later than the pattern that excluded the
        // folder.
        let counts = |index: usize| {
            let pattern = &self.patterns[index];
            !pattern.negated || (pattern.anchored && index > state.excluded_by)
        };
        let own = (0..self.patterns.len())
            .rev()
            .find(|&index| counts(index) && self.patterns[index].matches(path, name, is_directory));
        let last = own.map_or(state.last_match, |index| index.max(state.last_match));
        if self.patterns[last].negated {
            return Decision {
                excluded: false,
                reincludable: Some(Reincludable {
                    excluded_by: state.excluded_by,
                    last_match: last,
                }),
            };
        }
        self.exclude(path, is_directory, last)
    }

    /// Returns the decision about an entry that the pattern at `index` excludes.
    fn exclude(&self, path: &[u8], is_directory: bool, index: usize) -> Decision {
        let reachable = is_directory
            && self.patterns[index].ends_in_star
            && self.patterns[index + 1..]
                .iter()
                .any(|later| later.negated && later.anchored && later.may_match_below(path));
        let reincludable = reachable.then_some(Reincludable {
            excluded_by: index,
            last_match: index,
        });
        Decision {
            excluded: true,
            reincludable,
        }
    }
}

/// Returns the error for a pattern that exceeds a limit.
fn refuse(pattern: &[u8], reason: String) -> Error {
    const SHOWN: usize = 80;
    let shown = &pattern[..pattern.len().min(SHOWN)];
    Error::Pattern {
        pattern: lossy(shown),
        reason,
    }
}
