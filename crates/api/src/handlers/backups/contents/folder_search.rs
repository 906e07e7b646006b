//! Finds a page of a folder in an index, whatever the order of its entries.
//!
//! A page is sorted by name, and no folder is kept in memory. So a page after the first one takes
//! several passes over the index, each with a bounded number of names:
//!
//! 1. A pass collects a random sample of the folder. If the folder fits into the sample, the entry
//!    before the page is known.
//! 2. Otherwise a second pass counts the entries between the names of the sample. The page starts
//!    in one of these small parts, which is searched in the same way.
//! 3. The last pass collects the page.
//!
//! A folder of any size that occurs takes four passes at most.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::hash::{BuildHasher as _, RandomState};

use holdfast_archive::{EntryKind, Error, ListedEntry};

/// The most names that are kept at once.
const SAMPLE_MAX: usize = 16 << 10;

/// Receives the entries of an index, until it returns false.
type ForEach<'a> = dyn FnMut(&ListedEntry) -> Result<bool, Error> + 'a;

/// The search for a page of a folder.
pub(super) struct FolderSearch {
    /// The path of the folder. Empty for the server's directory.
    folder: Vec<u8>,
    /// The number of entries before the page.
    offset: u64,
    /// The largest number of entries on the page.
    size: usize,
    /// The most names that are kept at once.
    sample_max: usize,
    part: Part,
    next: Pass,
}

/// The outcome of a pass.
pub(super) enum SearchStep {
    /// Another pass is needed.
    Again(FolderSearch),
    /// There is no such folder.
    Missing,
    /// The path is another kind of entry.
    NotAFolder,
    /// The entries of the page, by name, and the number of all entries of the folder.
    Page(Vec<ListedEntry>, u64),
}

/// What the next pass does.
enum Pass {
    /// Collects a sample of the part.
    Sample,
    /// Counts the entries of the part between these keys, which are sorted.
    Count(Vec<Key>),
    /// Collects the page, which starts with the part.
    Collect,
}

/// A part of the sorted folder: the entries after a key, up to and including another one.
#[derive(Default)]
struct Part {
    after: Option<Key>,
    until: Option<Key>,
    /// The number of entries before the part.
    before: u64,
}

/// The place of an entry in the sorted folder.
///
/// The number makes each key unique, so that parts always shrink: a damaged archive could hold one
/// name many times.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    name: Vec<u8>,
    number: u64,
}

/// An entry of the folder: its name, and how many entries of the folder the index has before it.
#[derive(Clone, Copy)]
struct Found<'a> {
    name: &'a [u8],
    number: u64,
}

/// What every pass finds out.
struct Scanned {
    /// The number of entries of the folder.
    total: u64,
    /// The kind of the folder's own entry.
    kind: Option<EntryKind>,
    /// Whether an entry lies below the folder.
    has_entries: bool,
}

impl FolderSearch {
    /// Begins the search for the `size` entries after the first `offset` ones.
    pub(super) fn new(folder: Vec<u8>, offset: u64, size: usize) -> Self {
        Self {
            folder,
            offset,
            size,
            sample_max: SAMPLE_MAX,
            part: Part::default(),
            next: if offset == 0 {
                Pass::Collect
            } else {
                Pass::Sample
            },
        }
    }

    /// Reads the index once, with `list`.
    pub(super) fn pass(
        mut self,
        list: impl FnOnce(&mut ForEach<'_>) -> Result<(), Error>,
    ) -> Result<SearchStep, Error> {
        match std::mem::replace(&mut self.next, Pass::Collect) {
            Pass::Sample => self.sample(list),
            Pass::Count(keys) => self.count(list, keys),
            Pass::Collect => self.collect(list),
        }
    }

    fn sample(
        mut self,
        list: impl FnOnce(&mut ForEach<'_>) -> Result<(), Error>,
    ) -> Result<SearchStep, Error> {
        let mut sample = Sample::new(self.sample_max);
        let scanned = self.scan(list, |found, _| {
            if self.part.contains(found) {
                sample.add(found);
            }
        })?;
        if let Some(refused) = self.refusal(&scanned) {
            return Ok(refused);
        }
        if self.offset >= scanned.total {
            return Ok(SearchStep::Page(Vec::new(), scanned.total));
        }
        sample.keys.sort_unstable();
        if sample.is_whole() {
            let skipped = usize::try_from(self.offset - self.part.before).unwrap_or(usize::MAX);
            let before_page = skipped.checked_sub(1).map(|last| sample.keys.get(last));
            let after = before_page.ok_or_else(changed)?.ok_or_else(changed)?;
            self.part = Part {
                after: Some(after.clone()),
                until: None,
                before: self.offset,
            };
        } else {
            self.next = Pass::Count(sample.keys);
        }
        Ok(SearchStep::Again(self))
    }

    fn count(
        mut self,
        list: impl FnOnce(&mut ForEach<'_>) -> Result<(), Error>,
        keys: Vec<Key>,
    ) -> Result<SearchStep, Error> {
        // The entries up to each key, and those after the last one.
        let mut counts = vec![0_u64; keys.len() + 1];
        self.scan(list, |found, _| {
            if self.part.contains(found) {
                counts[keys.partition_point(|key| key.compare(found).is_lt())] += 1;
            }
        })?;
        let mut before = self.part.before;
        for (at, count) in counts.into_iter().enumerate() {
            if self.offset < before + count {
                let after = at.checked_sub(1).and_then(|at| keys.get(at));
                self.part = Part {
                    after: after.cloned().or(self.part.after),
                    until: keys.get(at).cloned().or(self.part.until),
                    before,
                };
                if before < self.offset {
                    self.next = Pass::Sample;
                }
                return Ok(SearchStep::Again(self));
            }
            before += count;
        }
        Err(changed())
    }

    fn collect(
        self,
        list: impl FnOnce(&mut ForEach<'_>) -> Result<(), Error>,
    ) -> Result<SearchStep, Error> {
        let mut page: BinaryHeap<Row> = BinaryHeap::with_capacity(self.size + 1);
        let scanned = self.scan(list, |found, entry| {
            let after = self.part.after.as_ref();
            if after.is_some_and(|after| after.compare(found).is_ge()) {
                return;
            }
            if page.len() == self.size {
                match page.peek() {
                    Some(last) if last.key.compare(found).is_gt() => {}
                    _ => return,
                }
                page.pop();
            }
            page.push(Row {
                key: found.key(),
                entry: entry.clone(),
            });
        })?;
        if let Some(refused) = self.refusal(&scanned) {
            return Ok(refused);
        }
        let rows = page.into_sorted_vec().into_iter();
        let entries = rows.map(|row| row.entry).collect();
        Ok(SearchStep::Page(entries, scanned.total))
    }

    /// Calls `each` for the entries of the folder.
    fn scan(
        &self,
        list: impl FnOnce(&mut ForEach<'_>) -> Result<(), Error>,
        mut each: impl FnMut(Found<'_>, &ListedEntry),
    ) -> Result<Scanned, Error> {
        let mut scanned = Scanned {
            total: 0,
            kind: None,
            has_entries: false,
        };
        list(&mut |entry| {
            if let Some(name) = below(&entry.path, &self.folder) {
                scanned.has_entries = true;
                if !name.contains(&b'/') {
                    let number = scanned.total;
                    each(Found { name, number }, entry);
                    scanned.total += 1;
                }
            } else if entry.path == self.folder {
                scanned.kind = Some(entry.kind);
            }
            Ok(true)
        })?;
        Ok(scanned)
    }

    /// Returns the outcome if the path is no folder. The server's directory has no entry, and
    /// neither has a folder that was removed while its files were read.
    fn refusal(&self, scanned: &Scanned) -> Option<SearchStep> {
        match scanned.kind {
            Some(EntryKind::Directory) => None,
            Some(_) => Some(SearchStep::NotAFolder),
            None if scanned.has_entries || self.folder.is_empty() => None,
            None => Some(SearchStep::Missing),
        }
    }
}

impl Part {
    fn contains(&self, found: Found<'_>) -> bool {
        let is_after = |after: &Key| after.compare(found).is_lt();
        let is_until = |until: &Key| until.compare(found).is_ge();
        self.after.as_ref().is_none_or(is_after) && self.until.as_ref().is_none_or(is_until)
    }
}

impl Key {
    fn compare(&self, found: Found<'_>) -> Ordering {
        let by_name = self.name.as_slice().cmp(found.name);
        by_name.then(self.number.cmp(&found.number))
    }
}

impl Found<'_> {
    fn key(self) -> Key {
        Key {
            name: self.name.to_vec(),
            number: self.number,
        }
    }
}

/// A random sample of keys, or all of them if they are few.
///
/// It is random so that no order of an archive can make the parts between its keys large.
struct Sample {
    random: RandomState,
    /// A key is in the sample if the hash of its number has none of these bits.
    mask: u64,
    most: usize,
    keys: Vec<Key>,
}

impl Sample {
    fn new(most: usize) -> Self {
        Self {
            random: RandomState::new(),
            mask: 0,
            most,
            keys: Vec::new(),
        }
    }

    fn add(&mut self, found: Found<'_>) {
        if self.random.hash_one(found.number) & self.mask != 0 {
            return;
        }
        self.keys.push(found.key());
        while self.keys.len() > self.most {
            self.mask = self.mask << 1 | 1;
            let (random, mask) = (&self.random, self.mask);
            self.keys
                .retain(|key| random.hash_one(key.number) & mask == 0);
        }
    }

    /// Returns whether every key is in the sample.
    fn is_whole(&self) -> bool {
        self.mask == 0
    }
}

/// An entry of the page, ordered by its key.
struct Row {
    key: Key,
    entry: ListedEntry,
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Row {}

impl PartialOrd for Row {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Row {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

/// Returns `path` relative to `folder`, or `None` if it is not inside.
fn below<'a>(path: &'a [u8], folder: &[u8]) -> Option<&'a [u8]> {
    if folder.is_empty() {
        return Some(path);
    }
    path.strip_prefix(folder)?.strip_prefix(b"/")
}

fn changed() -> Error {
    Error::Corrupt {
        reason: "its index changed while it was read".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: EntryKind) -> ListedEntry {
        ListedEntry {
            path: path.as_bytes().to_vec(),
            kind,
            link: Vec::new(),
            size: 0,
            stored: 0,
            sparse: false,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            device: 0,
            inode: 0,
            ctime: (0, 0),
        }
    }

    fn file(path: &str) -> ListedEntry {
        entry(path, EntryKind::File)
    }

    fn list(entries: &[ListedEntry], each: &mut ForEach<'_>) -> Result<(), Error> {
        for entry in entries {
            each(entry)?;
        }
        Ok(())
    }

    /// Returns the last step, and how many passes it took.
    fn search(entries: &[ListedEntry], mut search: FolderSearch) -> (SearchStep, usize) {
        for passes in 1.. {
            let step = search.pass(|each| list(entries, each));
            match step.expect("the index can be read") {
                SearchStep::Again(further) => search = further,
                step => return (step, passes),
            }
        }
        unreachable!("a search ends")
    }

    fn page(entries: &[ListedEntry], search_for: FolderSearch) -> (Vec<String>, u64, usize) {
        let (SearchStep::Page(found, total), passes) = search(entries, search_for) else {
            panic!("no folder")
        };
        let name = |entry: ListedEntry| String::from_utf8(entry.path).expect("UTF-8");
        (found.into_iter().map(name).collect(), total, passes)
    }

    /// Returns the entries in an order that looks random, and is the same for the same seed.
    fn shuffled(mut entries: Vec<ListedEntry>, seed: u64) -> Vec<ListedEntry> {
        let mut state = seed | 1;
        for at in (1..entries.len()).rev() {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            entries.swap(at, (state >> 33) as usize % (at + 1));
        }
        entries
    }

    #[test]
    fn every_page_is_the_same_in_every_order_and_with_little_memory() {
        let mut entries = vec![entry("folder", EntryKind::Directory), file("folder-not")];
        let mut names: Vec<String> = (0..1000).map(|n| format!("folder/{}", n * 7919)).collect();
        entries.extend(names.iter().map(|name| file(name)));
        entries.extend((0..500).map(|n| file(&format!("folder/{}/inside", n * 7919))));
        entries.extend((0..500).map(|n| file(&format!("other/{n}"))));
        names.sort();
        for (seed, sample_max) in [(1, 8), (2, 64), (3, 999), (4, 1000)] {
            let entries = shuffled(entries.clone(), seed);
            let mut passes_max = 0;
            for offset in (0..1030).step_by(41) {
                let mut search = FolderSearch::new(b"folder".to_vec(), offset, 41);
                search.sample_max = sample_max;
                let (found, total, passes) = page(&entries, search);
                let from = names.len().min(offset as usize);
                let expected = &names[from..names.len().min(from + 41)];
                assert_eq!(found, expected, "{offset} with {sample_max}");
                assert_eq!(total, 1000);
                passes_max = passes_max.max(passes);
            }
            // The sample is random. Small parts are searched once more now and then.
            match sample_max {
                1000 => assert_eq!(passes_max, 2),
                999 => assert_eq!(passes_max, 4),
                64 => assert!((4..=8).contains(&passes_max), "{passes_max}"),
                _ => assert!(passes_max > 4, "{passes_max}"),
            }
        }
        let first = page(&entries, FolderSearch::new(b"folder".to_vec(), 0, 41));
        assert_eq!(first.2, 1, "the first page takes one pass");
    }

    #[test]
    fn a_name_that_is_there_many_times_ends_no_search_early_and_lets_none_run_for_ever() {
        let mut entries: Vec<_> = (0..700).map(|_| file("same")).collect();
        entries.extend([file("a"), file("z")]);
        let mut all = Vec::new();
        for offset in (0..702).step_by(100) {
            let mut search = FolderSearch::new(Vec::new(), offset, 100);
            search.sample_max = 8;
            let (found, total, _) = page(&entries, search);
            assert_eq!(total, 702);
            all.extend(found);
        }
        let mut expected = vec!["same".to_owned(); 702];
        expected[0] = "a".to_owned();
        expected[701] = "z".to_owned();
        assert_eq!(all, expected);
    }

    #[test]
    fn what_is_no_folder_is_refused_wherever_its_entry_is() {
        let folder = entry("folder", EntryKind::Directory);
        let below = file("folder/file");
        let empty = entry("empty", EntryKind::Directory);
        let other = file("other");
        let entries = [other, below.clone(), empty, folder, file("implicit/file")];
        for offset in [0, 1, 50] {
            let of = |path: &[u8]| {
                let path = path.to_vec();
                search(&entries, FolderSearch::new(path, offset, 10)).0
            };
            assert!(matches!(of(b"other"), SearchStep::NotAFolder));
            for missing in [&b"folde"[..], b"folder/none", b"other/none", b"\0"] {
                assert!(matches!(of(missing), SearchStep::Missing), "{missing:?}");
            }
            for (path, count) in [
                (&b""[..], 3),
                (b"folder", 1),
                (b"empty", 0),
                (b"implicit", 1),
            ] {
                let SearchStep::Page(found, total) = of(path) else {
                    panic!("{path:?} is a folder")
                };
                assert_eq!(total, count, "{path:?}");
                assert_eq!(found.len() as u64, count.saturating_sub(offset), "{path:?}");
            }
        }
    }
}
