//! Matches paths folder by folder.
//!
//! One automaton matches a name with all globs of a list at once. What remains is the order of the
//! names in a path, with any number of folders where a pattern has `**/`. That is a row of bits:
//! bit `i` is set if the folders so far match everything before step `i`. An entry takes the bits
//! of its folder one step further. So it costs its own name and one pass over the bits, no matter
//! how deep it lies, whereas a glob of the whole path would read the path again for each entry.

use std::collections::HashMap;
use std::rc::Rc;

use globset::GlobBuilder;

use super::names::{Names, NamesMatched};
use super::pattern::Pattern;

const WORD: usize = 64;

/// The steps of all patterns of a list, in the order of the list.
#[derive(Debug, Default)]
pub(super) struct Steps {
    names: Names,
    /// The steps of each glob in `names`.
    of_glob: Vec<Vec<usize>>,
    /// The pattern of each step.
    pattern: Vec<usize>,
    /// The first step of each path.
    first: Bits,
    /// The last step of each path.
    last: Bits,
    /// The last step of each path that may be a file.
    last_of_files: Bits,
    /// Steps that any number of folders may come before.
    after_folders: Bits,
    /// Steps that match every name.
    every_name: Bits,
}

/// A row of bits, one for each step.
type Bits = Vec<u64>;

/// The steps that the name of an entry below a folder may match. Folders often share it.
pub(super) type State = Rc<[u64]>;

/// What the name of one entry has matched, and buffers.
#[derive(Debug, Default)]
pub(super) struct Matched {
    bits: Bits,
    names: NamesMatched,
}

impl Steps {
    /// Compiles the steps of a list.
    ///
    /// # Errors
    /// The reason why the crate globset refuses the list: it is too large.
    pub(super) fn new(patterns: &[Pattern]) -> Result<Self, String> {
        let count = patterns.iter().flat_map(|pattern| &pattern.paths);
        let words = count.map(Vec::len).sum::<usize>().div_ceil(WORD);
        let mut steps = Self {
            first: vec![0; words],
            last: vec![0; words],
            last_of_files: vec![0; words],
            after_folders: vec![0; words],
            every_name: vec![0; words],
            ..Self::default()
        };
        let mut numbers = HashMap::new();
        let mut globs = Vec::new();
        for (number, pattern) in patterns.iter().enumerate() {
            for path in &pattern.paths {
                for (at, step) in path.iter().enumerate() {
                    let bit = steps.pattern.len();
                    steps.pattern.push(number);
                    if at == 0 {
                        set(&mut steps.first, bit);
                    }
                    if at + 1 == path.len() {
                        set(&mut steps.last, bit);
                        if !pattern.folders_only {
                            set(&mut steps.last_of_files, bit);
                        }
                    }
                    if step.after_folders {
                        set(&mut steps.after_folders, bit);
                    }
                    let Some(glob) = &step.glob else {
                        set(&mut steps.every_name, bit);
                        continue;
                    };
                    let number = *numbers.entry(glob.as_str()).or_insert_with(|| {
                        steps.of_glob.push(Vec::new());
                        steps.of_glob.len() - 1
                    });
                    if steps.of_glob[number].is_empty() {
                        let mut builder = GlobBuilder::new(glob);
                        builder.literal_separator(true).backslash_escape(true);
                        globs.push(builder.build().map_err(|error| error.to_string())?);
                    }
                    steps.of_glob[number].push(bit);
                }
            }
        }
        steps.names = Names::new(&globs)?;
        Ok(steps)
    }

    /// Returns the size of a state, in bytes.
    pub(super) fn state_bytes(&self) -> usize {
        size_of_val(self.first.as_slice())
    }

    /// Returns the state of entries at the root.
    pub(super) fn root(&self) -> State {
        Rc::from(self.first.as_slice())
    }

    /// Matches the name of an entry in a folder.
    pub(super) fn match_name(&self, name: &[u8], folder: &[u64], matched: &mut Matched) {
        matched.bits.clone_from(&self.every_name);
        for glob in self.names.matches(name, &mut matched.names) {
            for &bit in &self.of_glob[glob] {
                set(&mut matched.bits, bit);
            }
        }
        for (word, folder) in matched.bits.iter_mut().zip(folder) {
            *word &= folder;
        }
    }

    /// Returns the last pattern that has matched an entry, of those that count.
    pub(super) fn last_match(
        &self,
        matched: &Matched,
        is_directory: bool,
        counts: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let last = match is_directory {
            true => &self.last,
            false => &self.last_of_files,
        };
        for (number, word) in matched.bits.iter().enumerate().rev() {
            let mut ends = word & last[number];
            while ends != 0 {
                let bit = ends.ilog2() as usize;
                let pattern = self.pattern[number * WORD + bit];
                if counts(pattern) {
                    return Some(pattern);
                }
                ends &= !(1 << bit);
            }
        }
        None
    }

    /// Returns the state of the entries in a folder whose name was matched.
    pub(super) fn below(&self, matched: &Matched, folder: &State) -> State {
        let mut carry = 0;
        let next = |number: usize| {
            let passed = matched.bits[number] & !self.last[number];
            let word = passed << 1 | carry | folder[number] & self.after_folders[number];
            carry = passed >> (WORD - 1);
            word
        };
        let state: State = (0..matched.bits.len()).map(next).collect();
        match state == *folder {
            true => Rc::clone(folder),
            false => state,
        }
    }

    /// Returns whether an entry below a folder with this state may match one of some patterns.
    pub(super) fn may_match(&self, state: &[u64], of_interest: impl Fn(usize) -> bool) -> bool {
        state.iter().enumerate().any(|(number, word)| {
            let mut word = *word;
            while word != 0 {
                let bit = word.trailing_zeros() as usize;
                if of_interest(self.pattern[number * WORD + bit]) {
                    return true;
                }
                word &= word - 1;
            }
            false
        })
    }
}

fn set(bits: &mut [u64], bit: usize) {
    bits[bit / WORD] |= 1 << (bit % WORD);
}
