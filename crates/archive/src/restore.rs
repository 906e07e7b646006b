//! Restores an archive into a directory so that a failure leaves the directory as it was.
//!
//! The archive is verified, unpacked beside the directory on the same file system, made durable,
//! and then swapped into place. Nothing of the directory is changed before the swap. The old tree
//! is removed after it.

mod abandoned;
mod attributes;
mod children;
mod copy;
mod holders;
mod layout;
mod leftovers;
mod lock;
mod markers;
mod merge;
mod mount_table;
mod path_swap;
mod remove;
mod some_paths;
mod stage;
mod staging;
mod swap;
mod ways;

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use crate::gunzip::{check_hash, check_size, sha256};
use crate::index::IndexReader;
use crate::read_at::ReadAt;
use crate::summary::Notes;
use crate::verify::archive_size;
use crate::{BeforeSwap, Control, Error, Recovered, RestoreOptions, RestoreSummary, SwapMethod};

pub use abandoned::{is_staging_name, remove_abandoned_staging, staging_paths};
use layout::RestoreLayout;
use staging::{OwnFolder, Staging};
use swap::Swapped;

/// Restores an archive into `destination`, which keeps its own owner and mode.
///
/// A missing destination is created. With its index, the blocks of the archive are decompressed in
/// parallel. Without one, or with a damaged one, the archive is read from its start.
///
/// `before_swap` runs after the archive is verified, staged and durable, right before the first
/// existing file is changed. With `truncate: false`, the files to keep are hard-linked into the
/// staged tree, so that one swap is enough. `before_swap` then also runs before these files are
/// collected.
///
/// With [`RestoreOptions::paths`], only these files and folders are replaced, each with one rename,
/// and the destination itself stays. With an index that belongs to the archive, only the blocks
/// that hold them are read and checked. With `truncate: false`, a folder keeps what the archive
/// does not have. Folders above them that are missing are created as the archive has them.
///
/// Progress counts bytes of the archive while its hash is checked, and bytes of files after that.
/// Totals of files are known only with an index.
///
/// # Errors
///
/// After any error, the files of the destination are as they were. [`Error::HashMismatch`],
/// [`Error::Corrupt`] and [`Error::Hostile`] are problems of the archive. The others are
/// [`Error::NoSpace`] (bytes), [`Error::Busy`] if another process is restoring the directory,
/// [`Error::Refused`] with the error of `before_swap`, [`Error::StagingElsewhere`],
/// [`Error::MountedInside`], [`Error::Immovable`], [`Error::Cancelled`] and [`Error::Io`]; with
/// paths also [`Error::NotInArchive`] and [`Error::InTheWay`].
///
/// # Examples
///
/// ```
/// use holdfast_archive::{Control, RestoreOptions, restore};
/// # use holdfast_archive::{CreateOptions, IgnoreRules, create};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let server = folder.path().join("server");
/// # fs_err::create_dir(&server)?;
/// # fs_err::write(server.join("world.dat"), "before")?;
/// # let archive_path = folder.path().join("backup.tar.gz");
/// # let archive = fs_err::File::create_new(&archive_path)?;
/// # let (options, control) = (CreateOptions::default(), Control::new());
/// # create(&server, &IgnoreRules::none(), &options, archive, std::io::sink(), &control)?;
/// fs_err::write(server.join("world.dat"), "after")?;
///
/// let (archive, _) = fs_err::File::open(&archive_path)?.into_parts();
/// let options = RestoreOptions {
///     truncate: true,
///     ..RestoreOptions::default()
/// };
/// let mut server_is_stopped = || Ok(());
/// restore(&archive, None, &server, &options, &Control::new(), &mut server_is_stopped)?;
/// assert_eq!(fs_err::read_to_string(server.join("world.dat"))?, "before");
/// # Ok(())
/// # }
/// ```
pub fn restore(
    archive: &dyn ReadAt,
    index: Option<&File>,
    destination: &Path,
    options: &RestoreOptions,
    control: &Control,
    before_swap: BeforeSwap<'_>,
) -> Result<RestoreSummary, Error> {
    let size = archive_size(archive)?;
    control.reset_done();
    let layout = RestoreLayout::prepare(destination, options.staging_dir.as_deref())?;
    let lock = lock::lock(&layout)?.ok_or_else(|| Error::Busy {
        path: layout.destination.clone(),
    })?;
    swap::recover(&layout)?;
    let restore = Restore {
        layout: &layout,
        archive,
        size,
        options,
        control,
    };
    let outcome = restore.run(index, before_swap);
    if outcome.is_err() {
        // The first error is returned. If a swap of children could not be undone, the staging
        // folder may hold the server's files. `recover` tries again, and keeps the folder if it
        // fails.
        let _ = swap::recover(&layout);
        layout.remove_destination_if_created();
    }
    lock::unlock(&layout, lock);
    outcome
}

/// Finishes or undoes an interrupted restore of `destination`, and removes its staging folder.
///
/// Does nothing while another process holds the restore lock of the directory.
///
/// # Errors
///
/// [`Error::Io`] if something cannot be read, moved or removed. Another call continues.
pub fn recover(destination: &Path, staging_dir: Option<&Path>) -> Result<Recovered, Error> {
    let Some(layout) = RestoreLayout::find(destination, staging_dir)? else {
        return Ok(Recovered::Nothing);
    };
    if !has_leftovers(&layout)? {
        return Ok(Recovered::Nothing);
    }
    let Some(lock) = lock::lock(&layout)? else {
        return Ok(Recovered::Busy);
    };
    let outcome = swap::recover(&layout);
    lock::unlock(&layout, lock);
    outcome
}

/// Returns whether a staging folder, leftovers or a lock file exist.
fn has_leftovers(layout: &RestoreLayout) -> Result<bool, Error> {
    for base in [&layout.staging_name, &layout.leftovers_name] {
        if !OwnFolder::find(layout, base)?.is_empty() {
            return Ok(true);
        }
    }
    let (folder, name) = (layout.lock_folder(), layout.lock_name.as_slice());
    Ok(rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok())
}

/// A restore that holds the lock of its directory.
struct Restore<'a> {
    layout: &'a RestoreLayout,
    archive: &'a dyn ReadAt,
    /// Size of the archive in bytes.
    size: u64,
    options: &'a RestoreOptions,
    control: &'a Control,
}

impl Restore<'_> {
    /// Verifies, stages and swaps.
    fn run(
        &self,
        index: Option<&File>,
        before_swap: BeforeSwap<'_>,
    ) -> Result<RestoreSummary, Error> {
        let index = index.and_then(|index| self.usable_index(index));
        let index = index.as_ref();
        let (staging, mut summary, needed, swapped);
        if self.options.paths.is_empty() {
            self.check_archive()?;
            self.layout.refuse_mounts_inside()?;
            needed = self.space_needed(index)?;
            (staging, summary) = self.stage(index, needed)?;
            swapped = self.complete(&staging, &mut summary.notes, before_swap);
        } else {
            let selection;
            (staging, summary, needed, selection) = self.stage_paths(index)?;
            let notes = &mut summary.notes;
            swapped = self.complete_paths(&staging, &selection, notes, before_swap);
        }
        if swapped.is_err() && !markers::has_marker(staging.folder.handle.as_fd()) {
            // The first error is returned. What stays is removed by `recover`.
            let _ = staging.folder.remove(self.layout);
        }
        swapped.map_err(|error| self.layout.add_space_figures(error, needed))?;
        // The restore is complete, so an error must not hide that.
        if let Err(error) = self.remove_old_tree(&staging, &mut summary.notes) {
            let reason = format!("the old files could not all be removed: {error}");
            summary.notes.add(b".", reason);
        }
        Ok(summary)
    }

    /// Makes the staged tree complete and durable, and puts it into place.
    fn complete(
        &self,
        staging: &Staging,
        notes: &mut Notes,
        before_swap: BeforeSwap<'_>,
    ) -> Result<(), Error> {
        if !self.options.truncate {
            // A server that still runs could write files that would not be kept.
            before_swap().map_err(Error::Refused)?;
            merge::keep_others(self.layout, staging, self.control, notes)?;
        }
        let mut attribute_notes = Notes::default();
        let can_exchange = !self.layout.is_fixed && self.options.swap != SwapMethod::Children && {
            let (directory, tree) = (self.layout.target.as_fd(), staging.tree.as_fd());
            attributes::copy_to_root(directory, tree, &mut attribute_notes).map_err(|error| {
                Error::io("copy the attributes of", &self.layout.destination, error)
            })?
        };
        sync(staging).map_err(|error| {
            Error::io("write to disk", &staging.folder.path(self.layout), error)
        })?;
        self.control.check()?;
        let method = match can_exchange {
            true => self.options.swap,
            false => SwapMethod::Children,
        };
        if swap::swap(self.layout, staging, method, before_swap)? == Swapped::Directory {
            notes.append(attribute_notes);
        }
        Ok(())
    }

    /// Removes the old tree. What cannot be removed is moved aside and noted.
    fn remove_old_tree(&self, staging: &Staging, notes: &mut Notes) -> Result<(), Error> {
        let remains = staging.folder.remove(self.layout)?;
        if remains.is_empty() {
            return Ok(());
        }
        let name = leftovers::set_aside(self.layout, &staging.folder)?;
        let reason = format!("{remains} could not be removed; they are kept in this folder");
        notes.add(&name, reason);
        Ok(())
    }

    /// Compares size and hash of the archive with the recorded ones.
    fn check_archive(&self) -> Result<(), Error> {
        let Some(expected) = &self.options.expected else {
            return Ok(());
        };
        check_size(self.size, expected)?;
        self.control.set_totals(0, self.size);
        check_hash(&sha256(self.archive, self.size, self.control)?, expected)
    }

    /// Returns the index if it is whole and belongs to the archive.
    fn usable_index<'i>(&self, index: &'i File) -> Option<IndexReader<'i>> {
        let reader = IndexReader::open(index).ok()?;
        let expected = self.options.expected.as_ref();
        let matches = reader.totals.archive_bytes == self.size
            && expected.is_none_or(|expected| expected.sha256 == reader.archive_sha256);
        matches.then_some(reader)
    }
}

/// Makes the staged files durable.
fn sync(staging: &Staging) -> Result<(), Errno> {
    match rustix::fs::syncfs(&staging.tree) {
        // Without this call, all file systems are synced.
        Err(Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP) => {
            rustix::fs::sync();
            Ok(())
        }
        other => other,
    }
}
