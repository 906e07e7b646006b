//! From an archive to a directory, so that a server is never lost half-way.
//!
//! Verified, unpacked beside the server directory on the same file system, made durable, and only then
//! swapped into place. Until the swap nothing of the server is touched; after it the old tree goes.

mod abandoned;
mod layout;
mod merge;
mod remove;
mod swap;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Gid, Mode, Uid};
use rustix::io::Errno;

use crate::blocks::unpack_blocks;
use crate::error::is_full;
use crate::gunzip::{Front, check_hash, check_size, sha256};
use crate::index::IndexReader;
use crate::options::thread_count;
use crate::tar_format::{TapeReader, read_error};
use crate::unpack::{AttributePolicy, unpack};
use crate::verify::archive_size;
use crate::{BeforeSwap, Control, Error, Recovered, RestoreOptions, RestoreSummary};
pub use abandoned::{is_staging_name, remove_abandoned_staging, staging_path};
use layout::Site;
use swap::TREE;

/// Restores an archive into `destination`, which keeps its own owner and mode.
///
/// The index, if it is the archive's own, lets blocks be unpacked side by side; without it (or with one
/// that is damaged) the archive is read from its front. `before_swap` runs once everything is verified,
/// staged and durable, right before the first existing file is touched; with `truncate: false` also before what stays
/// is looked for. A destination that is missing is
/// made. Progress counts bytes of the archive while its hash is checked, then bytes of the files; totals
/// of those are known through the index only. With `truncate: false` what stays joins the staged tree as
/// hard links, so that this too is one swap.
///
/// # Errors
///
/// Whatever it is, the server's files are as they were before: [`Error::HashMismatch`],
/// [`Error::Corrupt`], [`Error::Hostile`] for what the archive is; [`Error::NoSpace`] (bytes);
/// [`Error::Busy`] while another process restores the directory; [`Error::Refused`] from `before_swap`;
/// [`Error::StagingElsewhere`]; [`Error::MountedInside`]; [`Error::Cancelled`]; [`Error::Io`].
pub fn restore(
    archive: &File,
    index: Option<&File>,
    destination: &Path,
    options: &RestoreOptions,
    control: &Control,
    before_swap: BeforeSwap<'_>,
) -> Result<RestoreSummary, Error> {
    let size = archive_size(archive)?;
    control.restart();
    let site = Site::prepare(destination, options.staging_dir.as_deref())?;
    let lock = site.lock()?.ok_or_else(|| Error::Busy {
        path: site.destination.clone(),
    })?;
    swap::recover(&site)?;
    let outcome = (|| {
        if let Some(expected) = &options.expected {
            check_size(size, expected)?;
            control.set_totals(0, size);
            check_hash(&sha256(archive, control)?, expected)?;
        }
        site.refuse_mounts_inside()?;
        let index = index.and_then(|index| usable_index(index, size, options));
        let needed = space_needed(archive, size, index.as_ref())?;
        let available = site.available();
        if needed > available {
            return Err(Error::NoSpace { needed, available });
        }
        let staged = stage(&site, archive, index.as_ref(), options, control);
        let staged = match staged {
            // An index that misleads is no reason to refuse an archive that is whole.
            Err(Error::Corrupt { .. } | Error::Hostile { .. }) if index.is_some() => {
                site.remove_staging()?;
                stage(&site, archive, None, options, control)
            }
            other => other,
        };
        let mut summary = staged.map_err(|error| site.explain(error, needed))?;
        if !options.truncate {
            // Whatever a server that still runs would write from here on would not be among what stays.
            before_swap().map_err(Error::Refused)?;
            merge::keep_others(&site, control)?;
        }
        let exchangeable = swap::dress(&site)?;
        site.sync()?;
        control.check()?;
        swap::swap(&site, exchangeable, before_swap)?;
        // The restore holds from here on: what cannot be removed is noted and tried again later.
        if let Err(error) = site.remove_staging() {
            let reason = format!("the old files could not all be removed: {error}");
            summary.notes.add(b".", reason);
        }
        Ok(summary)
    })();
    if outcome.is_err() {
        // The error that is on its way counts. Staging may hold the server's own files if a swap of
        // children could not be taken back: only `recover` knows, and leaves them if it fails too.
        let _ = swap::recover(&site);
        site.remove_destination_if_made();
    }
    site.unlock(lock);
    outcome
}

/// Finishes or takes back what a killed restore of `destination` left, and removes its staging folder.
///
/// Does nothing while another living process holds the restore lock of the directory.
///
/// # Errors
///
/// [`Error::Io`] if something cannot be read, moved or removed; calling it again goes on.
pub fn recover(destination: &Path, staging_dir: Option<&Path>) -> Result<Recovered, Error> {
    let Some(site) = Site::find(destination, staging_dir)? else {
        return Ok(Recovered::Nothing);
    };
    if !site.has_leftovers() {
        return Ok(Recovered::Nothing);
    }
    let Some(lock) = site.lock()? else {
        return Ok(Recovered::Busy);
    };
    let outcome = swap::recover(&site);
    site.unlock(lock);
    outcome
}

/// The index, if it is whole and the archive's own.
fn usable_index<'a>(
    index: &'a File,
    size: u64,
    options: &RestoreOptions,
) -> Option<IndexReader<'a>> {
    let reader = IndexReader::open(index).ok()?;
    let fits = reader.totals.archive_bytes == size
        && options
            .expected
            .as_ref()
            .is_none_or(|known| known.sha256 == reader.archive_sha256);
    fits.then_some(reader)
}

/// Bytes that unpacking takes: by the index, or at least what the gzip trailer says.
fn space_needed(archive: &File, size: u64, index: Option<&IndexReader<'_>>) -> Result<u64, Error> {
    if let Some(index) = index {
        return Ok(index.totals.disk_bytes);
    }
    let mut length = [0; 4];
    let Some(at) = size.checked_sub(4) else {
        return Err(Error::corrupt("it is empty"));
    };
    archive.read_exact_at(&mut length, at).map_err(read_error)?;
    // Holes and the tar headers count too, but what wraps at 4 GiB makes up for it.
    Ok(size.max(u64::from(u32::from_le_bytes(length))))
}

/// Unpacks the archive into a new staging folder.
fn stage(
    site: &Site,
    archive: &File,
    index: Option<&IndexReader<'_>>,
    options: &RestoreOptions,
    control: &Control,
) -> Result<RestoreSummary, Error> {
    let root = site.make_staging()?;
    control.restart();
    control.set_totals(0, 0);
    let policy = AttributePolicy {
        archived_owner: options.apply_owner,
        default_owner: site.default_owner()?,
        special_modes: options.special_modes,
    };
    let threads = thread_count(options.threads);
    let Some(index) = index else {
        let mut tape = TapeReader::new(Front::new(archive, control).gunzip());
        return unpack(&mut tape, root, policy, threads, control);
    };
    control.set_totals(index.totals.files, index.totals.source_bytes);
    let summary = std::thread::scope(|scope| {
        let blocks = unpack_blocks(scope, archive, index, threads, control);
        unpack(&mut TapeReader::new(blocks), root, policy, threads, control)
    })?;
    let totals = &index.totals;
    if (summary.entries, summary.files, summary.bytes)
        != (totals.entries, totals.files, totals.source_bytes)
    {
        return Err(Error::corrupt("it does not hold what its index says"));
    }
    Ok(summary)
}

impl Site {
    /// Whose the restored files are when the archive's numbers do not count: the directory's owner, if
    /// the process may give files away. A game server must be able to write what was put back.
    fn default_owner(&self) -> Result<Option<(Uid, Gid)>, Error> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let stat = rustix::fs::fstat(&self.target)
            .map_err(|error| Error::io("look at", &self.destination, error))?;
        Ok(Some((
            Uid::from_raw(stat.st_uid),
            Gid::from_raw(stat.st_gid),
        )))
    }

    /// Makes the staging folder with an empty tree in it, and opens the tree.
    fn make_staging(&self) -> Result<OwnedFd, Error> {
        let fail = |error: Errno| Error::io("make", &self.staging_path(), error);
        rustix::fs::mkdirat(self.home.as_fd(), self.staging.as_slice(), Mode::RWXU)
            .map_err(fail)?;
        let staging = self.open_staging()?;
        rustix::fs::mkdirat(&staging, TREE, Mode::RWXU).map_err(fail)?;
        crate::directory::open_folder(staging.as_fd(), TREE).map_err(fail)
    }

    /// A full disk is told with figures.
    fn explain(&self, error: Error, needed: u64) -> Error {
        match &error {
            Error::Io { source, .. } if is_full(source) => Error::NoSpace {
                needed,
                available: self.available(),
            },
            _ => error,
        }
    }
}
