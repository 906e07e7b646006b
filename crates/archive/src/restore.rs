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
mod merge;
mod mount_table;
mod remove;
mod staging;
mod swap;

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use crate::blocks::decompress_blocks;
use crate::gunzip::{ArchiveReader, check_hash, check_size, sha256, tar_stream};
use crate::index::IndexReader;
use crate::options::thread_count;
use crate::summary::Notes;
use crate::tar_format::{TarReader, read_error};
use crate::unpack::{AttributePolicy, unpack};
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
/// Progress counts bytes of the archive while its hash is checked, and bytes of files after that.
/// Totals of files are known only with an index.
///
/// # Errors
///
/// After any error, the files of the destination are as they were. [`Error::HashMismatch`],
/// [`Error::Corrupt`] and [`Error::Hostile`] are problems of the archive. The others are
/// [`Error::NoSpace`] (bytes), [`Error::Busy`] if another process is restoring the directory,
/// [`Error::Refused`] with the error of `before_swap`, [`Error::StagingElsewhere`],
/// [`Error::MountedInside`], [`Error::Immovable`], [`Error::Cancelled`] and [`Error::Io`].
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
    archive: &File,
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
    archive: &'a File,
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
        self.check_archive()?;
        self.layout.refuse_mounts_inside()?;
        let index = index.and_then(|index| self.usable_index(index));
        let needed = self.space_needed(index.as_ref())?;
        let (staging, mut summary) = self.stage(index.as_ref(), needed)?;
        let swapped = self
            .complete(&staging, &mut summary.notes, before_swap)
            .map_err(|error| self.layout.add_space_figures(error, needed));
        if swapped.is_err() && !swap::has_marker(staging.folder.handle.as_fd()) {
            // The first error is returned. What stays is removed by `recover`.
            let _ = staging.folder.remove(self.layout);
        }
        swapped?;
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
        check_hash(&sha256(self.archive, self.control)?, expected)
    }

    /// Returns the index if it is whole and belongs to the archive.
    fn usable_index<'i>(&self, index: &'i File) -> Option<IndexReader<'i>> {
        let reader = IndexReader::open(index).ok()?;
        let expected = self.options.expected.as_ref();
        let matches = reader.totals.archive_bytes == self.size
            && expected.is_none_or(|expected| expected.sha256 == reader.archive_sha256);
        matches.then_some(reader)
    }

    /// Checks the free space, and unpacks the archive into a new staging folder.
    fn stage(
        &self,
        index: Option<&IndexReader<'_>>,
        needed: u64,
    ) -> Result<(Staging, RestoreSummary), Error> {
        let available = self.layout.available();
        if needed > available {
            return Err(Error::NoSpace { needed, available });
        }
        match self.stage_with(index, needed) {
            // The archive may be whole although its index is wrong.
            Err(Error::Corrupt { .. } | Error::Hostile { .. }) if index.is_some() => {
                self.stage_with(None, needed)
            }
            other => other,
        }
    }

    /// Unpacks the archive into a new staging folder. Removes that after an error.
    fn stage_with(
        &self,
        index: Option<&IndexReader<'_>>,
        needed: u64,
    ) -> Result<(Staging, RestoreSummary), Error> {
        let with_figures = |error| self.layout.add_space_figures(error, needed);
        let staging = Staging::create(self.layout).map_err(with_figures)?;
        match self.unpack(index, &staging) {
            Ok(summary) => Ok((staging, summary)),
            Err(error) => {
                // The disk is full only as long as the staging folder exists.
                let error = with_figures(error);
                staging.folder.remove(self.layout)?;
                Err(error)
            }
        }
    }

    /// Returns the bytes that unpacking needs: the total of the index, or else a lower bound from
    /// the gzip trailer.
    fn space_needed(&self, index: Option<&IndexReader<'_>>) -> Result<u64, Error> {
        if let Some(index) = index {
            return Ok(index.totals.disk_bytes);
        }
        let mut length = [0; 4];
        let Some(at) = self.size.checked_sub(4) else {
            return Err(Error::corrupt("it is empty"));
        };
        self.archive
            .read_exact_at(&mut length, at)
            .map_err(read_error)?;
        // The length counts tar headers too, but only modulo 4 GiB. Deflate makes data at most 1032
        // times smaller, so a greater length is damage, and not a lack of space.
        let length = u64::from(u32::from_le_bytes(length));
        Ok(self.size.max(length.min(self.size.saturating_mul(1032))))
    }

    /// Unpacks the archive into the tree of a new staging folder.
    fn unpack(
        &self,
        index: Option<&IndexReader<'_>>,
        staging: &Staging,
    ) -> Result<RestoreSummary, Error> {
        let mut notes = Notes::default();
        attributes::copy_inherited(self.layout.target.as_fd(), staging.tree.as_fd(), &mut notes)
            .map_err(|error| Error::io("copy the project of", &self.layout.destination, error))?;
        let mut summary = self.unpack_into(index, staging)?;
        summary.notes.append(notes);
        Ok(summary)
    }

    fn unpack_into(
        &self,
        index: Option<&IndexReader<'_>>,
        staging: &Staging,
    ) -> Result<RestoreSummary, Error> {
        let (archive, control) = (self.archive, self.control);
        let root = rustix::io::dup(&staging.tree);
        let root =
            root.map_err(|error| Error::io("open", &staging.folder.path(self.layout), error))?;
        control.reset_done();
        control.set_totals(0, 0);
        let policy = AttributePolicy {
            apply_owner: self.options.apply_owner,
            default_owner: self.layout.default_owner()?,
            special_modes: self.options.special_modes,
        };
        let threads = thread_count(self.options.threads);
        let Some(index) = index else {
            let mut tar = TarReader::new(tar_stream(ArchiveReader::new(archive, control)));
            return unpack(&mut tar, root, policy, threads, control);
        };
        let totals = &index.totals;
        control.set_totals(totals.files, totals.source_bytes);
        let summary = std::thread::scope(|scope| {
            let blocks = decompress_blocks(scope, archive, index, threads, control)?;
            unpack(&mut TarReader::new(blocks), root, policy, threads, control)
        })?;
        let unpacked = (summary.entries, summary.files, summary.bytes);
        if unpacked != (totals.entries, totals.files, totals.source_bytes) {
            return Err(Error::corrupt("its entries do not match its index"));
        }
        Ok(summary)
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
