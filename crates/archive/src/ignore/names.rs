//! Matches a name with many globs in one pass.
//!
//! The globs and their regular expressions are those of the crate globset. Its `GlobSet` compiles
//! them with the same engine, but with settings that cannot be changed: the positions of matches,
//! which nothing needs here, take 574 MB with 256 globs of 250 bytes.

use globset::Glob;
use regex_automata::meta::Regex;
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::util::syntax;
use regex_automata::{Input, MatchKind, PatternSet};

/// The largest automaton, in bytes. The largest list takes a third of it.
const MAX_AUTOMATON: usize = 32 << 20;
/// The most memory for states of the automaton that were met before, in bytes.
const MAX_CACHE: usize = 2 << 20;

/// The globs of a list.
#[derive(Debug, Default)]
pub(super) struct Names {
    automaton: Option<Regex>,
}

/// The globs that one name has matched.
#[derive(Debug, Default)]
pub(super) struct NamesMatched(Option<PatternSet>);

impl Names {
    /// Compiles globs.
    ///
    /// # Errors
    /// The reason why the automaton is too large.
    pub(super) fn new(globs: &[Glob]) -> Result<Self, String> {
        if globs.is_empty() {
            return Ok(Self::default());
        }
        let regexes: Vec<&str> = globs.iter().map(Glob::regex).collect();
        let syntax = syntax::Config::new().utf8(false).dot_matches_new_line(true);
        let config = Regex::config()
            .match_kind(MatchKind::All)
            .utf8_empty(false)
            .which_captures(WhichCaptures::None)
            .auto_prefilter(false)
            .dfa(false)
            .onepass(false)
            .backtrack(false)
            .nfa_size_limit(Some(MAX_AUTOMATON))
            .hybrid_cache_capacity(MAX_CACHE);
        let automaton = Regex::builder()
            .syntax(syntax)
            .configure(config)
            .build_many(&regexes)
            .map_err(|error| error.to_string())?;
        Ok(Self {
            automaton: Some(automaton),
        })
    }

    /// Returns the numbers of the globs that match a name.
    pub(super) fn matches<'a>(
        &self,
        name: &[u8],
        matched: &'a mut NamesMatched,
    ) -> impl Iterator<Item = usize> + use<'a> {
        let globs = self.automaton.as_ref().map(|automaton| {
            let globs = matched
                .0
                .get_or_insert_with(|| PatternSet::new(automaton.pattern_len()));
            globs.clear();
            automaton.which_overlapping_matches(&Input::new(name), globs);
            &*globs
        });
        globs
            .into_iter()
            .flat_map(|globs| globs.iter().map(|glob| glob.as_usize()))
    }
}
