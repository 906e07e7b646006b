//! Removes staging folders of directories that no server uses any more, so that no restore will
//! recover them.
//!
//! For other directories, [`recover`](crate::recover) handles all leftovers. This module never
//! removes a folder with a marker, which may hold the files of a server, and never one whose lock
//! is held.

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::layout::{LEFTOVERS_PREFIX, LOCK_PREFIX, RestoreLayout, STAGING_PREFIX};
use super::markers::has_marker;
use super::remove::remove_tree;
use crate::Error;
use crate::directory::{open_folder, open_source};

/// Returns whether this is the name of a staging folder outside of its directory, or of a folder
/// with leftovers.
pub fn is_staging_name(name: &[u8]) -> bool {
    directory_name(name).is_some()
}

/// Returns the end of the name of such a folder, which tells the directory.
fn directory_name(name: &[u8]) -> Option<&[u8]> {
    name.strip_prefix(STAGING_PREFIX)
        .or_else(|| name.strip_prefix(LEFTOVERS_PREFIX))
}

/// Returns the staging folder of `destination` and the folder with its leftovers; `None` if the
/// directory does not exist.
///
/// # Errors
///
/// [`Error::Io`] if something cannot be read; [`Error::StagingElsewhere`].
pub fn staging_paths(
    destination: &Path,
    staging_dir: Option<&Path>,
) -> Result<Option<[PathBuf; 2]>, Error> {
    let layout = RestoreLayout::find(destination, staging_dir)?;
    Ok(layout.map(|layout| {
        [&layout.staging_name, &layout.leftovers_name].map(|name| layout.path_of_staged(name))
    }))
}

/// Removes the staging folder of a directory that no server uses any more.
///
/// Returns false without removing it if it has a marker, if its lock is held, or if it is not a
/// staging folder.
///
/// # Errors
///
/// [`Error::Io`] if something cannot be read or removed.
pub fn remove_abandoned_staging(staging: &Path) -> Result<bool, Error> {
    let (Some(parent_path), Some(name)) = (staging.parent(), staging.file_name()) else {
        return Ok(false);
    };
    let name = name.as_bytes();
    let Some(directory_name) = directory_name(name) else {
        return Ok(false);
    };
    let fail = |error| Error::io("remove", staging, error);
    let parent = open_source(parent_path)?;
    let folder = match open_folder(parent.as_fd(), name) {
        Ok(folder) => folder,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(false),
        Err(error) => return Err(fail(error)),
    };
    if has_marker(folder.as_fd()) {
        return Ok(false);
    }
    let lock_name = [LOCK_PREFIX, directory_name].concat();
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lock = match rustix::fs::openat(&parent, lock_name.as_slice(), flags, Mode::empty()) {
        Ok(lock) => Some(lock),
        Err(Errno::NOENT) => None,
        Err(error) => return Err(fail(error)),
    };
    if let Some(lock) = &lock {
        match rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(error) => return Err(fail(error)),
        }
    }
    drop(folder);
    let remains = remove_tree(parent.as_fd(), name);
    if let Some((_, error)) = remains.first {
        return Err(fail(error));
    }
    if lock.is_some() {
        // It is removed while the lock is held, as in a restore. A file that stays does no harm.
        let _ = rustix::fs::unlinkat(&parent, lock_name.as_slice(), AtFlags::empty());
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_with_a_marker_or_a_held_lock_are_not_removed() {
        let parent = tempfile::tempdir().expect("a folder");
        let make = |name: &str, inside: &str| {
            let staging = parent.path().join(format!(".holdfast-restore-{name}"));
            fs_err::create_dir_all(staging.join("tree/world")).expect("a folder");
            fs_err::write(staging.join(inside), b"x").expect("a file");
            staging
        };
        let rubbish = make("gone", "tree/world/level.dat");
        let lock_left = parent.path().join(".holdfast-lock-gone");
        fs_err::write(&lock_left, b"").expect("a file");
        assert!(remove_abandoned_staging(&rubbish).expect("it goes"));
        assert!(!rubbish.exists() && !lock_left.exists());
        assert!(!remove_abandoned_staging(&rubbish).expect("nothing is there"));

        for mark in ["moving-out", "moving-in"] {
            let marked = make(mark, mark);
            assert!(!remove_abandoned_staging(&marked).expect("it stays"));
            assert!(marked.join("tree/world").exists());
        }
        let old = parent.path().join(".holdfast-old-gone");
        fs_err::create_dir_all(old.join("1/tree")).expect("a folder");
        assert!(is_staging_name(b".holdfast-old-gone"));
        assert!(remove_abandoned_staging(&old).expect("it goes") && !old.exists());
        let held = make("held", "tree/a");
        let lock = fs_err::File::create(parent.path().join(".holdfast-lock-held"));
        let lock = lock.expect("a file").into_file();
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).expect("the lock");
        assert!(!remove_abandoned_staging(&held).expect("it stays"));
        assert!(held.exists());
        drop(lock);
        assert!(remove_abandoned_staging(&held).expect("it goes"));
        let other = parent.path().join("server");
        fs_err::create_dir(&other).expect("a folder");
        assert!(!remove_abandoned_staging(&other).expect("it stays") && other.exists());
    }
}
