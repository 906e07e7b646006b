//! The order of the entries in an archive.
//!
//! A later backup can continue an archive from its first change on. So what changes least and costs
//! most to hash again comes first:
//!
//! 1. Large files, by size × age. An entry that lies deep is never sorted by itself, so that the
//!    way to it is not walked again for each one.
//! 2. Small files and most symlinks, by classes of age, then in the order of the walk.
//! 3. Directories, whose times change often, and symlinks that can lead out of their folder, in the
//!    order of the walk. GNU tar creates such a symlink at the end, and keeps the time of its
//!    folder only if the folder's entry comes first.
//!
//! Ages are relative to the newest entry, so the order depends on the tree and not on the clock.

use std::cmp::Reverse;

/// Files of at least this size have blocks of their own.
pub(crate) const LARGE_BYTES: u64 = 256 << 10;
/// The deepest folder whose files are sorted by size × age.
const LARGE_DEPTH_MAX: u16 = 64;
/// Memory that a plan may take. A larger tree is packed in portions, each with a plan of its own.
pub(crate) const PLAN_BYTES_MAX: usize = 24 << 20;
/// The most folders of a plan. Their entries come after their contents, and a restore accepts
/// 50,000 folders without an entry.
pub(crate) const PLAN_FOLDERS_MAX: usize = 40_000;
const DAY_SECONDS: i64 = 24 * 60 * 60;
/// The bounds of the classes of age, the oldest first.
const CLASS_SECONDS: [i64; 5] = [
    365 * DAY_SECONDS,
    30 * DAY_SECONDS,
    7 * DAY_SECONDS,
    DAY_SECONDS,
    60 * 60,
];

/// A folder of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FolderId(u32);

impl FolderId {
    /// The directory that is archived. It has no entry.
    pub(crate) const ROOT: Self = Self(0);
}

/// What is planned to be packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlannedKind {
    File,
    Symlink,
    /// A symlink that can lead out of its folder.
    OutwardSymlink,
}

/// What is packed after all files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastEntry {
    Folder(FolderId),
    Symlink(u32),
}

/// A file or symlink.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlannedEntry {
    pub(crate) folder: FolderId,
    pub(crate) kind: PlannedKind,
    /// Bytes of a file; 0 for a symlink and for a further name of a file.
    pub(crate) size: u64,
    /// Seconds since 1970.
    pub(crate) mtime: i64,
    name: NameSpan,
}

#[derive(Debug, Clone, Copy)]
struct NameSpan {
    start: u32,
    length: u16,
}

#[derive(Debug, Clone, Copy)]
struct PlannedFolder {
    parent: FolderId,
    name: NameSpan,
    /// How many folders lie above it.
    depth: u16,
    /// Whether this plan packs its entry. If more of its contents are to come, the next plan does.
    is_packed: bool,
}

/// Entries of a tree, in the order in which they were found.
#[derive(Debug)]
pub(crate) struct Plan {
    names: Vec<u8>,
    /// The first one is the root.
    folders: Vec<PlannedFolder>,
    entries: Vec<PlannedEntry>,
    /// The latest modification time of an entry.
    newest: i64,
}

impl Plan {
    pub(crate) fn new() -> Self {
        let name = NameSpan {
            start: 0,
            length: 0,
        };
        let root = PlannedFolder {
            parent: FolderId::ROOT,
            name,
            depth: 0,
            is_packed: false,
        };
        Self {
            names: Vec::new(),
            folders: vec![root],
            entries: Vec::new(),
            newest: i64::MIN,
        }
    }

    /// Returns the memory of its entries.
    pub(crate) fn bytes(&self) -> usize {
        let folders = self.folders.len() * size_of::<PlannedFolder>();
        let entries = self.entries.len() * size_of::<PlannedEntry>();
        self.names.len() + folders + entries
    }

    /// Returns whether it takes `bytes_max` of memory, or has the most folders.
    pub(crate) fn is_full(&self, bytes_max: usize) -> bool {
        self.bytes() >= bytes_max || self.folders.len() > PLAN_FOLDERS_MAX
    }

    /// Starts the plan for what is found next. Nothing is found in other folders than those of
    /// `chain`, the folders above it, and in new ones. The new plan packs the entries of those that
    /// come after their contents: other programs unpack nothing more into a folder after its entry.
    pub(crate) fn next(&mut self, chain: &mut [(FolderId, usize)]) -> Self {
        let mut next = Self::new();
        let mut above = FolderId::ROOT;
        for (id, _) in chain {
            let folder = &mut self.folders[id.0 as usize];
            let is_packed = std::mem::take(&mut folder.is_packed);
            above = next.add_folder(above, self.folder_name(*id), is_packed);
            *id = above;
        }
        next
    }

    pub(crate) fn add_folder(
        &mut self,
        parent: FolderId,
        name: &[u8],
        is_packed: bool,
    ) -> FolderId {
        let id = FolderId(u32::try_from(self.folders.len()).unwrap_or(u32::MAX));
        let folder = PlannedFolder {
            parent,
            name: self.add_name(name),
            depth: self.folder(parent).depth.saturating_add(1),
            is_packed,
        };
        self.folders.push(folder);
        id
    }

    /// Counts an entry that is not packed again among the ages.
    pub(crate) fn add_unchanged(&mut self, mtime: i64) {
        self.newest = self.newest.max(mtime);
    }

    pub(crate) fn add_entry(
        &mut self,
        folder: FolderId,
        name: &[u8],
        kind: PlannedKind,
        size: u64,
        mtime: i64,
    ) {
        let name = self.add_name(name);
        self.newest = self.newest.max(mtime);
        self.entries.push(PlannedEntry {
            folder,
            kind,
            size,
            mtime,
            name,
        });
    }

    /// A plan ends long before its names reach 4 GiB, and the system has no longer names.
    fn add_name(&mut self, name: &[u8]) -> NameSpan {
        let start = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
        self.names.extend_from_slice(name);
        NameSpan { start, length }
    }

    fn name(&self, span: NameSpan) -> &[u8] {
        let start = span.start as usize;
        &self.names[start..start + usize::from(span.length)]
    }

    fn folder(&self, id: FolderId) -> &PlannedFolder {
        &self.folders[id.0 as usize]
    }

    pub(crate) fn parent(&self, folder: FolderId) -> FolderId {
        self.folder(folder).parent
    }

    pub(crate) fn depth(&self, folder: FolderId) -> usize {
        usize::from(self.folder(folder).depth)
    }

    pub(crate) fn folder_name(&self, folder: FolderId) -> &[u8] {
        self.name(self.folder(folder).name)
    }

    pub(crate) fn entry_name(&self, entry: &PlannedEntry) -> &[u8] {
        self.name(entry.name)
    }

    /// Returns the path of `name` in a folder.
    pub(crate) fn path(&self, folder: FolderId, name: &[u8]) -> Vec<u8> {
        let mut names = vec![name];
        let mut above = folder;
        while above != FolderId::ROOT {
            names.push(self.folder_name(above));
            above = self.parent(above);
        }
        names.reverse();
        names.join(&b'/')
    }

    /// Returns the weight of a large file: the greatest come first.
    pub(crate) fn weight(&self, size: u64, mtime: i64) -> u128 {
        weight(size, self.newest, mtime)
    }

    /// Returns whether an entry gets blocks of its own.
    pub(crate) fn is_large(&self, entry: &PlannedEntry) -> bool {
        entry.size >= LARGE_BYTES && self.folder(entry.folder).depth <= LARGE_DEPTH_MAX
    }

    pub(crate) fn entry(&self, at: u32) -> &PlannedEntry {
        &self.entries[at as usize]
    }

    /// Returns the files and most symlinks in the order of the archive.
    pub(crate) fn order(&self) -> Vec<u32> {
        let entries = self.numbered_entries();
        let entries = entries.filter(|(_, entry)| entry.kind != PlannedKind::OutwardSymlink);
        let mut order: Vec<u32> = entries.map(|(at, _)| at).collect();
        order.sort_unstable_by_key(|&at| {
            let entry = self.entry(at);
            if self.is_large(entry) {
                (0, Reverse(weight(entry.size, self.newest, entry.mtime)), at)
            } else {
                (1 + age_class(self.newest, entry.mtime), Reverse(0), at)
            }
        });
        order
    }

    /// Returns the directories whose entries are packed, and the symlinks that can lead out of
    /// their folder, in the order of the walk.
    pub(crate) fn last(&self) -> Vec<LastEntry> {
        let folders = self.folders.iter().zip(0..);
        let folders = folders.filter(|(folder, _)| folder.is_packed);
        let folders = folders.map(|(folder, id)| (folder.name, LastEntry::Folder(FolderId(id))));
        let links = self.numbered_entries();
        let links = links.filter(|(_, entry)| entry.kind == PlannedKind::OutwardSymlink);
        let links = links.map(|(at, entry)| (entry.name, LastEntry::Symlink(at)));
        let mut last: Vec<(NameSpan, LastEntry)> = folders.chain(links).collect();
        // Names are stored in the order of the walk.
        last.sort_unstable_by_key(|(name, _)| name.start);
        last.into_iter().map(|(_, entry)| entry).collect()
    }

    fn numbered_entries(&self) -> impl Iterator<Item = (u32, &PlannedEntry)> {
        (0..).zip(&self.entries)
    }
}

/// Returns the weight of a large file: what it costs to hash it again, times its age.
fn weight(size: u64, newest: i64, mtime: i64) -> u128 {
    let age = age(newest, mtime) + u128::from(DAY_SECONDS.unsigned_abs());
    age.saturating_mul(u128::from(size))
}

/// Returns the class of age, from 0 for the oldest.
fn age_class(newest: i64, mtime: i64) -> usize {
    let age = age(newest, mtime);
    let bounds = CLASS_SECONDS.iter();
    let is_older = |bound: &&i64| age > u128::from(bound.unsigned_abs());
    bounds.take_while(|bound| !is_older(bound)).count()
}

/// Returns the seconds from `mtime` to `newest`, which is not earlier.
fn age(newest: i64, mtime: i64) -> u128 {
    (i128::from(newest) - i128::from(mtime)).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn names(plan: &Plan) -> Vec<String> {
        let entries = plan.order().into_iter().map(|at| plan.entry(at));
        let names = entries.map(|entry| plan.entry_name(entry));
        names
            .map(|name| String::from_utf8(name.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn large_files_come_first_by_size_times_age_then_small_ones_by_age() {
        let mut plan = Plan::new();
        let mut add = |name: &str, size: u64, days: i64| {
            let (kind, mtime) = (PlannedKind::File, NOW - days * DAY_SECONDS);
            plan.add_entry(FolderId::ROOT, name.as_bytes(), kind, size, mtime);
        };
        add("a-new-small", 10, 0);
        add("b-new-large", 2 << 20, 0);
        add("c-old-large", 1 << 20, 9);
        add("d-old-small", 10, 400);
        add("e-old-small", 10, 400);
        add("f-week", LARGE_BYTES - 1, 8);
        add("g-same-weight", 2 << 20, 0);
        add("h-huge", u64::MAX, 3);
        let expected = [
            "h-huge",
            "c-old-large",
            "b-new-large",
            "g-same-weight",
            "d-old-small",
            "e-old-small",
            "f-week",
            "a-new-small",
        ];
        assert_eq!(names(&plan), expected);
    }

    #[test]
    fn each_class_of_age_ends_at_its_bound() {
        for (age, class) in [
            (0, 5),
            (3600, 5),
            (3601, 4),
            (DAY_SECONDS, 4),
            (DAY_SECONDS + 1, 3),
            (8 * DAY_SECONDS, 2),
            (31 * DAY_SECONDS, 1),
            (365 * DAY_SECONDS, 1),
            (365 * DAY_SECONDS + 1, 0),
        ] {
            assert_eq!(age_class(NOW, NOW - age), class, "{age}");
        }
        assert_eq!(age_class(i64::MAX, i64::MIN), 0);
        assert!(weight(u64::MAX, i64::MAX, i64::MIN) > 0);
    }

    #[test]
    fn a_large_file_that_lies_deep_is_not_sorted_by_its_size() {
        let mut plan = Plan::new();
        let mut folder = FolderId::ROOT;
        for _ in 0..=LARGE_DEPTH_MAX {
            folder = plan.add_folder(folder, b"d", true);
        }
        let above = plan.parent(folder);
        plan.add_entry(folder, b"deep", PlannedKind::File, 9 << 20, NOW);
        plan.add_entry(above, b"high", PlannedKind::File, 1 << 20, NOW);
        assert_eq!(names(&plan), ["high", "deep"]);
        assert_eq!(plan.path(FolderId::ROOT, b"x"), b"x");
        assert!(plan.path(folder, b"x").ends_with(b"/d/d/x"));
        assert_eq!(plan.path(folder, b"x").len(), 2 * plan.depth(folder) + 1);
    }

    #[test]
    fn folders_that_get_more_entries_are_packed_by_the_next_plan() {
        let mut plan = Plan::new();
        let top = plan.add_folder(FolderId::ROOT, b"top", true);
        let above = plan.add_folder(top, b"above", true);
        let done = plan.add_folder(above, b"done", true);
        plan.add_entry(done, b"link", PlannedKind::OutwardSymlink, 0, NOW);
        plan.add_entry(above, b"file", PlannedKind::File, 0, NOW);
        let current = plan.add_folder(above, b"current", true);
        let mut chain = [(top, 3), (above, 9), (current, 17)];
        let next = plan.next(&mut chain);
        let packed = |plan: &Plan| {
            let path = |last| match last {
                LastEntry::Folder(id) => plan.path(plan.parent(id), plan.folder_name(id)),
                LastEntry::Symlink(at) => {
                    let entry = plan.entry(at);
                    plan.path(entry.folder, plan.entry_name(entry))
                }
            };
            let paths = plan.last().into_iter().map(path);
            paths
                .map(|path| String::from_utf8(path).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(packed(&plan), ["top/above/done", "top/above/done/link"]);
        let expected = ["top", "top/above", "top/above/current"];
        assert_eq!(packed(&next), expected);
        assert_eq!(plan.folder_name(done), b"done");
        assert_eq!(chain.map(|(_, length)| length), [3, 9, 17]);
        assert_eq!(next.folder_name(chain[2].0), b"current");
    }

    #[test]
    fn no_more_directories_come_last_than_a_restore_accepts() {
        let mut plan = Plan::new();
        while !plan.is_full(PLAN_BYTES_MAX) {
            plan.add_folder(FolderId::ROOT, b"folder", true);
        }
        assert_eq!(plan.last().len(), PLAN_FOLDERS_MAX);
    }
}
