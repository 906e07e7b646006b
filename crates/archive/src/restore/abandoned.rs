//! Staging folders of directories that nobody restores any more.
//!
//! Whoever still restores a directory calls [`recover`](super::recover) for it, which knows what to do with
//! anything. Here only what is rubbish for certain goes: never a folder with a mark in it, which may hold a server's
//! own files, and never one whose lock somebody holds.

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::layout::Site;
use super::remove::remove_tree;
use super::swap::is_marked;
use crate::Error;
use crate::directory::{open_folder, open_source};

/// How the names of staging folders begin that lie beside a directory, or in a folder for many.
const STAGING: &[u8] = b".holdfast-restore-";
/// How the names of locks begin that lie beside a directory.
const LOCK: &[u8] = b".holdfast-lock-";

/// Says whether a file's name is that of a staging folder outside of its directory.
pub fn is_staging_name(name: &[u8]) -> bool {
    name.starts_with(STAGING)
}

/// Returns where a restore of `destination` unpacks; `None` when there is no such directory.
///
/// # Errors
///
/// [`Error::Io`] if something cannot be read; [`Error::StagingElsewhere`].
pub fn staging_path(
    destination: &Path,
    staging_dir: Option<&Path>,
) -> Result<Option<PathBuf>, Error> {
    Ok(Site::find(destination, staging_dir)?.map(|site| site.staging_path()))
}

/// Removes a staging folder whose directory nobody will restore again. False if it was left alone: it holds a mark,
/// its lock is held, or it is none.
///
/// # Errors
///
/// [`Error::Io`] if something cannot be read or removed.
pub fn remove_abandoned_staging(staging: &Path) -> Result<bool, Error> {
    let (Some(home_path), Some(name)) = (staging.parent(), staging.file_name()) else {
        return Ok(false);
    };
    let name = name.as_bytes();
    let Some(of) = name.strip_prefix(STAGING) else {
        return Ok(false);
    };
    let fail = |error| Error::io("remove", staging, error);
    let home = open_source(home_path)?;
    let folder = match open_folder(home.as_fd(), name) {
        Ok(folder) => folder,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(false),
        Err(error) => return Err(fail(error)),
    };
    if is_marked(folder.as_fd()) {
        return Ok(false);
    }
    let lock_name = [LOCK, of].concat();
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lock = match rustix::fs::openat(&home, lock_name.as_slice(), flags, Mode::empty()) {
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
    remove_tree(home.as_fd(), name).map_err(fail)?;
    if lock.is_some() {
        // Removed while it is held, as a restore does. A file left is no harm.
        let _ = rustix::fs::unlinkat(&home, lock_name.as_slice(), AtFlags::empty());
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_hold_a_servers_files_and_what_is_held_stays() {
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
