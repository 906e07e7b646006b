//! Decides which entries are excluded, with the rules of gitignore and one extension.
//!
//! The last pattern that matches an entry decides. Nothing below an excluded folder is read. The
//! extension: if a folder was excluded by a pattern that ends in `*`, a later negation with a slash
//! can include entries below it again, together with the folders above them. So `*` followed by
//! `!keep/sub` keeps `keep/sub`. A folder that is excluded by its name stays excluded completely.
//!
//! Users choose the patterns, so no list may stall a backup. The cost of an entry is proportional
//! to the length of its name and to the length of the list. [`Budget`] ends what is slower.

mod budget;
mod folders;
mod glob;
mod names;
mod pattern;
mod pteroignore;

pub use pteroignore::{Pteroignore, read_pteroignore};

use std::time::Instant;

use crate::{Error, Note};

use budget::Budget;
use folders::{Matched, State, Steps};
use pattern::Pattern;

/// The most patterns in a list, without comments.
pub const MAX_PATTERNS: usize = 256;
/// The longest pattern, in bytes.
pub const MAX_PATTERN_BYTES: usize = 1024;
/// The most wildcards (`*`, `?`, `[`) in one pattern.
pub const MAX_WILDCARDS: usize = 64;

/// The most memory for the states of the folders from the root to the current one, in bytes.
const MAX_STATES: usize = 64 << 20;

/// A compiled ignore list.
#[derive(Debug, Default)]
pub struct IgnoreRules {
    patterns: Vec<Pattern>,
    steps: Steps,
    /// What was left out of the `.pteroignore` of the source.
    notes: Vec<Note>,
}

/// The decision about an entry, and what is needed to decide about its children.
#[derive(Debug, Clone, Default)]
pub(crate) struct Decision {
    /// Whether the entry itself is excluded.
    pub(crate) excluded: bool,
    reincludable: Option<Reincludable>,
    /// The steps of patterns that entries in this folder may match; `None` for a file.
    state: Option<State>,
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
    pub(crate) fn must_descend(&self) -> bool {
        !self.excluded || self.reincludable.is_some()
    }
}

impl IgnoreRules {
    /// Compiles patterns, one per line. The last pattern that matches decides.
    ///
    /// # Errors
    ///
    /// [`Error::Pattern`] if there are more than 256 patterns, or if one is longer than 1024 bytes,
    /// has more than 64 wildcards or holds a NUL byte. Comments have no limits.
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
    /// let totals = scan(server.path(), &rules, &Control::new())?.totals();
    /// assert_eq!(totals.files, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(patterns: &[String]) -> Result<Self, Error> {
        let mut parsed = Vec::new();
        let lines = patterns.iter().flat_map(|line| line.split('\n'));
        for (number, line) in lines.enumerate() {
            let line = if number == 0 {
                line.strip_prefix('\u{feff}').unwrap_or(line)
            } else {
                line
            };
            let Some(pattern) = Pattern::parse(line).map_err(|reason| refuse(line, reason))? else {
                continue;
            };
            if parsed.len() == MAX_PATTERNS {
                let reason = format!("there are more than {MAX_PATTERNS} patterns");
                return Err(refuse(line, reason));
            }
            parsed.push(pattern);
        }
        let steps = Steps::new(&parsed).map_err(|reason| {
            let first = patterns.first().map_or("", String::as_str);
            refuse(first, format!("the list is too large: {reason}"))
        })?;
        Ok(Self {
            patterns: parsed,
            steps,
            notes: Vec::new(),
        })
    }

    /// Returns rules that exclude nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds notes about the `.pteroignore` of the source, from [`Pteroignore::notes`]. The summary
    /// of the archive holds them.
    #[must_use]
    pub fn with_notes(mut self, notes: Vec<Note>) -> Self {
        self.notes = notes;
        self
    }

    /// Returns the notes about the `.pteroignore` of the source.
    pub(crate) fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Returns the matcher for one walk.
    pub(crate) fn matcher(&self) -> Matcher<'_> {
        Matcher {
            rules: self,
            matched: Matched::default(),
            budget: Budget::default(),
        }
    }
}

/// Decides about the entries of one walk.
#[derive(Debug)]
pub(crate) struct Matcher<'a> {
    rules: &'a IgnoreRules,
    matched: Matched,
    budget: Budget,
}

impl Matcher<'_> {
    /// Returns the decision about the root.
    pub(crate) fn root(&self) -> Decision {
        Decision {
            state: Some(self.rules.steps.root()),
            ..Decision::default()
        }
    }

    /// Returns how many folders deep a walk may go. Each folder on the way keeps its state.
    pub(crate) fn max_depth(&self) -> usize {
        MAX_STATES / self.rules.steps.state_bytes().max(1)
    }

    /// Decides about an entry. `parent` is the decision about its folder.
    ///
    /// # Errors
    /// [`Error::SlowPatterns`] if the patterns take too much time.
    pub(crate) fn decide(
        &mut self,
        name: &[u8],
        is_directory: bool,
        parent: &Decision,
    ) -> Result<Decision, Error> {
        let rules = self.rules;
        let Some(folder) = parent.state.as_ref().filter(|state| !state.is_empty()) else {
            return Ok(Decision {
                state: parent.state.clone(),
                ..Decision::default()
            });
        };
        let began_at = Instant::now();
        rules.steps.match_name(name, folder, &mut self.matched);
        let state = is_directory.then(|| rules.steps.below(&self.matched, folder));
        let decision = rules.judge(&self.matched, state, parent.reincludable);
        self.budget.spend(began_at.elapsed())?;
        Ok(decision)
    }
}

impl IgnoreRules {
    /// Decides about an entry whose name was matched. `state` is that of a folder.
    fn judge(
        &self,
        matched: &Matched,
        state: Option<State>,
        parent: Option<Reincludable>,
    ) -> Decision {
        let is_directory = state.is_some();
        let kept = |state, reincludable| Decision {
            excluded: false,
            reincludable,
            state,
        };
        let Some(parent) = parent else {
            let last = self.steps.last_match(matched, is_directory, |_| true);
            return match last {
                Some(index) if !self.patterns[index].negated => self.exclude(state, index),
                _ => kept(state, None),
            };
        };
        // A negation counts if it has a slash and is later than the pattern that excluded the
        // folder.
        let counts = |index: usize| {
            let pattern = &self.patterns[index];
            !pattern.negated || (pattern.anchored && index > parent.excluded_by)
        };
        let last = self.steps.last_match(matched, is_directory, counts);
        let last = last.map_or(parent.last_match, |index| index.max(parent.last_match));
        if self.patterns[last].negated {
            let reincludable = Reincludable {
                last_match: last,
                ..parent
            };
            return kept(state, Some(reincludable));
        }
        self.exclude(state, last)
    }

    /// Returns the decision about an entry that the pattern at `index` excludes.
    fn exclude(&self, state: Option<State>, index: usize) -> Decision {
        let is_later_negation = |later: usize| {
            let pattern = &self.patterns[later];
            later > index && pattern.negated && pattern.anchored
        };
        let reachable = self.patterns[index].ends_in_star
            && state
                .as_ref()
                .is_some_and(|state| self.steps.may_match(state, is_later_negation));
        let reincludable = reachable.then_some(Reincludable {
            excluded_by: index,
            last_match: index,
        });
        Decision {
            excluded: true,
            reincludable,
            state,
        }
    }
}

/// Returns the error for a pattern that exceeds a limit.
fn refuse(pattern: &str, reason: String) -> Error {
    Error::Pattern {
        pattern: shorten(pattern),
        reason,
    }
}

/// Shortens a pattern to a readable length.
fn shorten(pattern: &str) -> String {
    const SHOWN: usize = 80;
    let end = pattern.floor_char_boundary(SHOWN);
    match end < pattern.len() {
        true => format!("{}…", &pattern[..end]),
        false => pattern.to_owned(),
    }
}
