//! Finds what is to be archived, before it is read.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, Stat};

use crate::directory::Identity;
use crate::file_system;
use crate::pace::Pace;
use crate::plan::{FolderId, PLAN_BYTES_MAX, Plan, PlannedKind};
use crate::previous::Previous;
use crate::summary::Notes;
use crate::walk::{Visitor, WalkEntry, walk};
use crate::{Control, Error, IgnoreRules, Totals};

/// How long before the scan a file must have changed last, so that its attributes tell whether it
/// has changed since. A write through a memory map can change a file long before its times.
const SETTLED_SECONDS: i64 = 60;

/// What a directory holds, for [`create_from`](crate::create_from()).
#[derive(Debug)]
pub struct Scan {
    totals: Totals,
    /// In seconds since 1970. An entry that has changed since then may change again without a
    /// change of its attributes.
    pub(crate) unsettled_since: i64,
    /// `None` if the tree is too large for one plan.
    pub(crate) plan: Option<Plan>,
    pub(crate) plan_bytes_max: usize,
    pub(crate) notes: Notes,
    pub(crate) source: PathBuf,
    /// The previous archive, with its unchanged entries marked. They are not in the plan.
    pub(crate) previous: Option<Previous>,
    /// The first names of unchanged files with several hard links, and how many others there are.
    pub(crate) unchanged_links: HashMap<Identity, (Vec<u8>, u64)>,
}

impl Scan {
    /// Adds a note about the whole backup.
    pub fn add_note(&mut self, reason: String) {
        self.notes.add(b".", reason);
    }

    /// Sets when the scan began, in seconds since 1970. Tests need that: a file that was written
    /// less than a minute before is never reused.
    #[doc(hidden)]
    pub fn set_begun(&mut self, begun: i64) {
        self.unsettled_since = begun.saturating_sub(SETTLED_SECONDS);
    }

    /// Returns the number and the size of the files.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }
}

/// Finds the files that an archive of `source` holds, and sets the totals of `control`.
///
/// Entries below `source` that cannot be read are not counted. Memory is at most 32 MiB, and a path
/// for each file with several hard links.
///
/// # Errors
///
/// [`Error::SourceMissing`], [`Error::NotADirectory`], [`Error::Cancelled`], or [`Error::Io`] if
/// `source` itself cannot be read.
pub fn scan(source: &Path, rules: &IgnoreRules, control: &Control) -> Result<Scan, Error> {
    scan_within(PLAN_BYTES_MAX, source, rules, None, control)
}

/// The same as [`scan`], and finds what has not changed since the previous archive. With `reread`,
/// every file counts as changed.
///
/// # Errors
///
/// The same as [`scan`].
pub fn scan_after(
    mut previous: Previous,
    reread: bool,
    source: &Path,
    rules: &IgnoreRules,
    control: &Control,
) -> Result<Scan, Error> {
    previous.is_reread = reread;
    scan_within(PLAN_BYTES_MAX, source, rules, Some(previous), control)
}

/// Implements [`scan`] with another memory for a plan.
pub(crate) fn scan_within(
    plan_bytes_max: usize,
    source: &Path,
    rules: &IgnoreRules,
    previous: Option<Previous>,
    control: &Control,
) -> Result<Scan, Error> {
    let unsettled_since = now().saturating_sub(SETTLED_SECONDS);
    let mut is_whole = true;
    let mut drop_plan = |_| {
        is_whole = false;
        Ok(())
    };
    let mut collector = Collector::new(plan_bytes_max, control, &mut drop_plan);
    collector.previous = previous;
    let collected = collector.collect(source, rules)?;
    control.set_totals(collected.totals.files, collected.totals.bytes);
    Ok(Scan {
        totals: collected.totals,
        unsettled_since,
        plan: is_whole.then_some(collected.plan),
        plan_bytes_max,
        notes: collected.notes,
        source: source.to_path_buf(),
        previous: collected.previous,
        unchanged_links: collected.unchanged_links,
    })
}

/// Returns the time in seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

/// What a walk has found.
pub(crate) struct Collected {
    /// The last plan.
    pub(crate) plan: Plan,
    pub(crate) notes: Notes,
    totals: Totals,
    previous: Option<Previous>,
    unchanged_links: HashMap<Identity, (Vec<u8>, u64)>,
}

/// The first name of a file with several hard links.
struct FirstName {
    /// Empty unless the file is unchanged.
    path: Vec<u8>,
    is_unchanged: bool,
    other_names: u64,
}

/// Collects the entries of a walk in plans.
pub(crate) struct Collector<'a> {
    plan: Plan,
    plan_bytes_max: usize,
    notes: Notes,
    totals: Totals,
    /// Receives each plan that is full.
    hand_over: &'a mut dyn FnMut(Plan) -> Result<(), Error>,
    /// The folders above the latest entry, each with the length of its path.
    chain: Vec<(FolderId, usize)>,
    /// Files with several hard links that were found.
    linked: HashMap<Identity, FirstName>,
    previous: Option<Previous>,
    /// Whether the times of files on a device tell of every change.
    devices: HashMap<u64, bool>,
    control: &'a Control,
    pace: Pace,
}

impl<'a> Collector<'a> {
    pub(crate) fn new(
        plan_bytes_max: usize,
        control: &'a Control,
        hand_over: &'a mut dyn FnMut(Plan) -> Result<(), Error>,
    ) -> Self {
        Self {
            plan: Plan::new(),
            plan_bytes_max,
            notes: Notes::default(),
            totals: Totals::default(),
            hand_over,
            chain: Vec::new(),
            linked: HashMap::new(),
            previous: None,
            devices: HashMap::new(),
            control,
            pace: Pace::new(),
        }
    }

    /// Walks `source`.
    pub(crate) fn collect(
        mut self,
        source: &Path,
        rules: &IgnoreRules,
    ) -> Result<Collected, Error> {
        walk(source, rules, self.control, &mut self)?;
        Ok(Collected {
            plan: self.plan,
            notes: self.notes,
            totals: self.totals,
            previous: self.previous,
            unchanged_links: self
                .linked
                .into_iter()
                .filter(|(_, first)| first.is_unchanged)
                .map(|(identity, first)| (identity, (first.path, first.other_names)))
                .collect(),
        })
    }

    /// Returns whether this is the first name of a file, and whether the previous archive has it.
    fn compare(&mut self, found: &WalkEntry<'_>, stat: &Stat) -> (bool, bool) {
        let path = found.path;
        let is_trusted = self.previous.is_some() && self.is_trusted(found.folder, stat);
        let has_links = stat.st_nlink > 1;
        let identity = Identity::from(stat);
        if has_links && let Some(first) = self.linked.get(&identity) {
            // A further name refers to the first one, which must come before it.
            let is_unchanged = first.is_unchanged
                && self
                    .previous
                    .as_mut()
                    .is_some_and(|previous| previous.mark_unchanged(path, stat, Some(&first.path)));
            return (false, is_unchanged);
        }
        let previous = self.previous.as_mut().filter(|_| is_trusted);
        let is_unchanged =
            previous.is_some_and(|previous| previous.mark_unchanged(path, stat, None));
        if has_links {
            let first = FirstName {
                path: if is_unchanged {
                    path.to_vec()
                } else {
                    Vec::new()
                },
                is_unchanged,
                other_names: stat.st_nlink - 1,
            };
            self.linked.insert(identity, first);
        }
        (true, is_unchanged)
    }

    /// Returns whether the times of a file tell of every change.
    fn is_trusted(&mut self, folder: BorrowedFd<'_>, stat: &Stat) -> bool {
        *self.devices.entry(stat.st_dev).or_insert_with(|| {
            // A file can be a mount point itself.
            let is_same = rustix::fs::fstat(folder).is_ok_and(|above| above.st_dev == stat.st_dev);
            is_same && file_system::times_tell_of_changes(folder)
        })
    }

    fn hand_over_if_full(&mut self) -> Result<(), Error> {
        if !self.plan.is_full(self.plan_bytes_max) {
            return Ok(());
        }
        let next = self.plan.next(&mut self.chain);
        (self.hand_over)(std::mem::replace(&mut self.plan, next))
    }

    /// Returns the folder of an entry, and the entry's name in it.
    ///
    /// A walk visits a folder before its contents. So the folder is one of those above the latest
    /// entry, unless the plan began below it.
    fn locate<'p>(&mut self, path: &'p [u8]) -> (FolderId, &'p [u8]) {
        let Some(end) = path.iter().rposition(|&byte| byte == b'/') else {
            self.chain.clear();
            return (FolderId::ROOT, path);
        };
        while self.chain.last().is_some_and(|&(_, length)| length > end) {
            self.chain.pop();
        }
        if self.chain.last().is_none_or(|&(_, length)| length != end) {
            self.chain.clear();
            let mut above = FolderId::ROOT;
            let mut length = 0;
            for name in path[..end].split(|&byte| byte == b'/') {
                above = self.plan.add_folder(above, name, false);
                length += name.len();
                self.chain.push((above, length));
                length += 1;
            }
        }
        let folder = self.chain.last().map_or(FolderId::ROOT, |&(id, _)| id);
        (folder, &path[end + 1..])
    }
}

/// Returns whether a symlink can lead out of its folder. GNU tar takes the same for unsafe.
fn can_lead_out(target: &[u8]) -> bool {
    target.starts_with(b"/") || target.split(|&byte| byte == b'/').any(|part| part == b"..")
}

impl Visitor for Collector<'_> {
    fn visit_folder(
        &mut self,
        path: &[u8],
        _: Option<BorrowedFd<'_>>,
        _: &Stat,
    ) -> Result<(), Error> {
        let (parent, name) = self.locate(path);
        let id = self.plan.add_folder(parent, name, true);
        self.chain.push((id, path.len()));
        self.hand_over_if_full()
    }

    fn visit_file(&mut self, found: &WalkEntry<'_>) -> Result<(), Error> {
        self.pace.rest(self.control);
        let stat = rustix::fs::statat(found.folder, found.name, AtFlags::SYMLINK_NOFOLLOW);
        let (mut size, mut mtime) = (0, 0);
        // What cannot be read gets its note when it is packed.
        if let Ok(stat) = stat {
            mtime = stat.st_mtime;
            self.totals.files += 1;
            let (is_first, is_unchanged) = self.compare(found, &stat);
            if is_first {
                // A sparse file can claim 2⁶³ − 1 bytes.
                size = u64::try_from(stat.st_size).unwrap_or(0);
                self.totals.bytes = self.totals.bytes.saturating_add(size);
            }
            if is_unchanged {
                self.plan.add_unchanged(mtime);
                return Ok(());
            }
        }
        let (folder, name) = self.locate(found.path);
        let kind = PlannedKind::File;
        self.plan.add_entry(folder, name, kind, size, mtime);
        self.hand_over_if_full()
    }

    fn visit_symlink(&mut self, found: &WalkEntry<'_>) -> Result<(), Error> {
        self.pace.rest(self.control);
        let stat = rustix::fs::statat(found.folder, found.name, AtFlags::SYMLINK_NOFOLLOW);
        let mtime = stat.map_or(0, |stat| stat.st_mtime);
        let target = rustix::fs::readlinkat(found.folder, found.name, Vec::new());
        if target.is_ok_and(|target| can_lead_out(target.as_bytes())) {
            let (folder, name) = self.locate(found.path);
            let kind = PlannedKind::OutwardSymlink;
            self.plan.add_entry(folder, name, kind, 0, mtime);
            return self.hand_over_if_full();
        }
        if let Ok(stat) = stat
            && self.previous.is_some()
            && self.is_trusted(found.folder, &stat)
            && let Some(previous) = &mut self.previous
            && previous.mark_unchanged(found.path, &stat, None)
        {
            self.plan.add_unchanged(mtime);
            return Ok(());
        }
        let (folder, name) = self.locate(found.path);
        let kind = PlannedKind::Symlink;
        self.plan.add_entry(folder, name, kind, 0, mtime);
        self.hand_over_if_full()
    }

    fn add_note(&mut self, path: &[u8], reason: String) {
        self.notes.add(path, reason);
    }
}
