//! From an archive to a directory, so that a server is never lost half-way.
//!
//! Verified, unpacked beside the server directory on the same file system, made durable, and only then
//! swapped into place. Until the swap nothing of the server is touched; after it the old tree goes.

mod merge;
mod remove;
mod site;
mod swap;

use std::fs::File;
use std::io::BufRead;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::Mode;
use rustix::io::Errno;

use crate::error::is_full;
use crate::gunzip::{Front, check_hash, check_size, sha256};
use crate::tape::TapeReader;
use crate::unpack::{Apply, unpack};
use crate::verify::archive_size;
use crate::{Control, Error, Recovered, RestoreOptions, RestoreSummary};
use site::Site;
use swap::TREE;

/// Restores an archive into `destination`, which keeps its own owner and mode.
///
/// The index, if it is the archive's own, lets blocks be unpacked side by side; without it (or with one
/// that is damaged) the archive is read from its front. `before_swap` runs once everything is verified,
/// staged and durable, right before the first existing file is touched. A destination that is missing is
/// made. Hard-linked copies of what stays are used for `truncate: false`, so that this too is one swap.
///
/// # Errors
///
/// Whatever it is, the server's files are as they were before: [`Error::HashMismatch`],
/// [`Error::Corrupt`], [`Error::Hostile`] for what the archive is; [`Error::NoSpace`] (bytes);
/// [`Error::Busy`] while another process restores the directory; [`Error::Refused`] from `before_swap`;
/// [`Error::StagingElsewhere`]; [`Error::Cancelled`]; [`Error::Io`].
pub fn restore(
    archive: &File,
    index: Option<&File>,
    destination: &Path,
    options: &RestoreOptions,
    control: &Control,
    before_swap: &mut dyn FnMut() -> Result<(), String>,
) -> Result<RestoreSummary, Error> {
    let _ = index;
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
            check_hash(&sha256(archive, control)?, expected)?;
        }
        control.restart();
        let mut summary = stage(&site, archive, options, control)?;
        if !options.truncate {
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
        // The error that is on its way counts; leftovers are swept by the next restore or `recover`.
        let _ = site.remove_staging();
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

/// Unpacks the archive into the staging folder.
fn stage(
    site: &Site,
    archive: &File,
    options: &RestoreOptions,
    control: &Control,
) -> Result<RestoreSummary, Error> {
    let root = site.make_staging()?;
    let tape = TapeReader::new(Front::new(archive, control).gunzip());
    unpack_from(tape, root, options, control).map_err(|error| site.explain(error))
}

fn unpack_from<R: BufRead>(
    mut tape: TapeReader<R>,
    root: OwnedFd,
    options: &RestoreOptions,
    control: &Control,
) -> Result<RestoreSummary, Error> {
    let apply = Apply {
        owner: options.apply_owner,
        special_modes: options.special_modes,
    };
    unpack(&mut tape, root, apply, control)
}

impl Site {
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
    fn explain(&self, error: Error) -> Error {
        match &error {
            Error::Io { source, .. } if is_full(source) => Error::NoSpace {
                needed: 0,
                available: self.available(),
            },
            _ => error,
        }
    }
}
