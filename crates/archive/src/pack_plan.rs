//! Packs the entries of a plan in their order.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use crate::pack::Packer;
use crate::plan::{FolderId, LastEntry, Plan, PlannedEntry, PlannedKind};
use crate::tree_cursor::TreeCursor;
use crate::walk::WalkEntry;
use crate::{Control, Error};

/// Packs the entries of a plan.
pub(crate) struct PlanPacker<'a> {
    plan: &'a Plan,
    cursor: TreeCursor<'a>,
    /// The files and most symlinks in their order.
    order: Vec<u32>,
    /// How many of these are packed.
    done: usize,
    control: &'a Control,
}

impl<'a> PlanPacker<'a> {
    /// Begins at the `root` of the tree, which is that of `source`.
    pub(crate) fn new(
        source: &Path,
        root: BorrowedFd<'a>,
        plan: &'a Plan,
        control: &'a Control,
    ) -> Result<Self, Error> {
        let cursor = TreeCursor::new(root, plan);
        Ok(Self {
            plan,
            cursor: cursor.map_err(|error| Error::io("open", source, error))?,
            order: plan.order(),
            done: 0,
            control,
        })
    }

    /// Returns the weight that a large file would have in this plan.
    pub(crate) fn weight(&self, size: u64, mtime: i64) -> u128 {
        self.plan.weight(size, mtime)
    }

    /// Packs the next large files with at least this weight.
    pub(crate) fn put_large_above(
        &mut self,
        weight: u128,
        packer: &mut Packer<'_>,
    ) -> Result<(), Error> {
        while let Some(&next) = self.order.get(self.done) {
            let entry = self.plan.entry(next);
            if !self.plan.is_large(entry) || self.weight(entry.size, entry.mtime) < weight {
                break;
            }
            self.done += 1;
            self.put_entry(entry, packer)?;
        }
        Ok(())
    }

    /// Packs everything that is not packed yet.
    pub(crate) fn put_rest(&mut self, packer: &mut Packer<'_>) -> Result<(), Error> {
        while let Some(&next) = self.order.get(self.done) {
            self.done += 1;
            self.put_entry(self.plan.entry(next), packer)?;
        }
        // What follows has blocks of its own, since it is always packed again.
        packer.end_block()?;
        for entry in self.plan.last() {
            match entry {
                LastEntry::Folder(folder) => self.put_folder(folder, packer)?,
                LastEntry::Symlink(at) => self.put_entry(self.plan.entry(at), packer)?,
            }
        }
        Ok(())
    }

    fn put_entry(&mut self, entry: &PlannedEntry, packer: &mut Packer<'_>) -> Result<(), Error> {
        self.control.check()?;
        let plan = self.plan;
        let name = plan.entry_name(entry);
        let folder = match self.cursor.enter(entry.folder) {
            Ok(folder) => folder,
            Err(error) => return packer.note_unreachable(&plan.path(entry.folder, name), error),
        };
        self.cursor.with_path(name, |path| {
            let found = WalkEntry {
                folder: folder.as_fd(),
                name,
                path,
            };
            match entry.kind {
                PlannedKind::File => packer.put_file(&found, plan.is_large(entry)),
                PlannedKind::Symlink | PlannedKind::OutwardSymlink => packer.put_symlink(&found),
            }
        })
    }

    fn put_folder(&mut self, folder: FolderId, packer: &mut Packer<'_>) -> Result<(), Error> {
        self.control.check()?;
        let (plan, cursor) = (self.plan, &mut self.cursor);
        if let Ok(opened) = cursor.enter(folder) {
            return packer.put_folder(cursor.path(), opened.as_fd());
        }
        let name = plan.folder_name(folder);
        match cursor.enter(plan.parent(folder)) {
            Ok(parent) => cursor.with_path(name, |path| {
                let found = WalkEntry {
                    folder: parent.as_fd(),
                    name,
                    path,
                };
                packer.put_closed_folder(&found)
            }),
            Err(error) => packer.note_unreachable(&plan.path(plan.parent(folder), name), error),
        }
    }
}
