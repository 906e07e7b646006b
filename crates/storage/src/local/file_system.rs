//! The calls that differ between file systems: free space, folder syncs, closing a file, and making
//! a new file visible under its name.
//!
//! Network, FUSE and FAT file systems lack some of them. Each function here uses what there is, and
//! fails only if the file is not safely stored.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::ops::Range;
use std::path::Path;

use fs_err as fs;
use rustix::fs::{Advice, CWD, RenameFlags, StatVfs};
use rustix::io::Errno;

use crate::error::Shortage;

/// What a file system can still store. `None` means that it does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FreeSpace {
    /// Bytes that an unprivileged user can write.
    pub(crate) bytes: Option<u64>,
    /// Inodes: files, folders and links that can be created.
    pub(crate) inodes: Option<u64>,
}

/// The free bytes below which a file system counts as full, whatever it says about inodes. XFS and
/// others make inodes from free space, so a full one reports no free inodes either.
const FULL_BYTES: u64 = 64 * 1024;

impl FreeSpace {
    pub(crate) fn of(folder: &Path) -> io::Result<Self> {
        Ok(Self::from(&rustix::fs::statvfs(folder)?))
    }

    /// Returns whether there are bytes, but no inodes left.
    fn lacks_inodes(self) -> bool {
        self.inodes == Some(0) && self.bytes.is_none_or(|bytes| bytes >= FULL_BYTES)
    }
}

impl From<&StatVfs> for FreeSpace {
    /// A file system that reports a total of zero does not report anything.
    fn from(status: &StatVfs) -> Self {
        /// The most bytes that the database can store.
        const BYTES_MAX: u64 = i64::MAX.unsigned_abs();
        let unit = match status.f_frsize {
            0 => status.f_bsize,
            unit => unit,
        };
        let bytes = status.f_bavail.saturating_mul(unit).min(BYTES_MAX);
        Self {
            bytes: (status.f_blocks > 0 && unit > 0).then_some(bytes),
            inodes: (status.f_files > 0).then_some(status.f_favail),
        }
    }
}

/// Returns the number of bytes that an unprivileged user can still write to the file system of
/// `folder`, or `None` if the file system does not report it.
///
/// # Errors
/// If the file system can't be queried.
pub fn free_bytes(folder: &Path) -> io::Result<Option<u64>> {
    FreeSpace::of(folder).map(|free| free.bytes)
}

impl Shortage {
    /// Returns what was used up, if a write in `folder` failed with `error` for that reason.
    pub fn of(error: &io::Error, folder: &Path) -> Option<Self> {
        Some(match error.kind() {
            io::ErrorKind::StorageFull => match FreeSpace::of(folder) {
                Ok(free) if free.lacks_inodes() => Self::Inodes,
                _ => Self::Space,
            },
            io::ErrorKind::QuotaExceeded => Self::Quota,
            io::ErrorKind::FileTooLarge => Self::FileSize,
            _ => return None,
        })
    }
}

/// Makes the names in a folder durable, if its file system supports that.
///
/// Some network and FUSE file systems refuse to sync a folder. They store names by themselves.
///
/// # Errors
/// If the sync fails for another reason.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    match rustix::fs::fsync(fs::File::open(folder)?.file()) {
        Ok(()) => Ok(()),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::BADF | Errno::ISDIR) => Ok(()),
        Err(error) => Err(context(error.into(), "cannot sync folder", folder)),
    }
}

/// How often the bytes of an archive leave the page cache while it is written or read.
pub(crate) const UNCACHE_BYTES: u64 = 8 << 20;

/// Removes bytes of an archive from the page cache, so that it does not replace what the game
/// servers have cached. The kernel begins to write bytes that are not on the disk yet, and keeps
/// them until then. Only advice, so an error changes nothing.
pub(crate) fn uncache(file: &File, bytes: Range<u64>) {
    if let Some(length) = NonZeroU64::new(bytes.end.saturating_sub(bytes.start)) {
        let _ = rustix::fs::fadvise(file, bytes.start, Some(length), Advice::DontNeed);
    }
}

/// Syncs and closes a file. The error of closing counts: some file systems store the last bytes
/// only then.
///
/// # Errors
/// If the file may not be stored completely.
pub(crate) fn sync_and_close(file: File) -> io::Result<()> {
    file.sync_all()?;
    uncache(&file, 0..i64::MAX.unsigned_abs());
    match nix::unistd::close(file) {
        // Linux has closed the file all the same.
        Ok(()) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Renames a file. Fails with [`io::ErrorKind::AlreadyExists`] if the new name exists.
///
/// The caller must be the only one that can give a file this new name: the last of the three ways
/// is not atomic. An upload is, because it has created the temporary file of its key exclusively.
///
/// # Errors
/// If the new name exists, or the file system refuses all three ways.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // NFS, exFAT and many FUSE file systems do not support the flag, and some sandboxes refuse
        // the call.
        Err(error) if is_unsupported(error) => {}
        other => return other.map_err(|error| rename_error(error.into(), to)),
    }
    // A hard link also fails if the name exists.
    match rustix::fs::link(from, to) {
        Ok(()) => return fs::remove_file(from),
        // The answer to the first request was lost, and NFS has sent it again.
        Err(Errno::EXIST) if is_same_file(from, to) => return fs::remove_file(from),
        Err(error) if is_unsupported(error) => {}
        Err(error) => return Err(rename_error(error.into(), to)),
    }
    match fs::symlink_metadata(to) {
        Ok(_) => Err(rename_error(Errno::EXIST.into(), to)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
        Err(error) => Err(error),
    }
}

fn rename_error(error: io::Error, to: &Path) -> io::Error {
    context(error, "cannot rename a new file to", to)
}

/// Returns whether a file system may refuse a call with this error because it does not support it.
/// rclone does so with `EIO`.
fn is_unsupported(error: Errno) -> bool {
    matches!(
        error,
        Errno::INVAL
            | Errno::NOSYS
            | Errno::OPNOTSUPP
            | Errno::PERM
            | Errno::NOTTY
            | Errno::MLINK
            | Errno::IO
    )
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |path| fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()));
    matches!((identity(one), identity(other)), (Ok(one), Ok(other)) if one == other)
}

/// Adds the attempted operation to an error. Its kind stays.
pub(super) fn context(error: io::Error, attempt: &str, path: &Path) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("{attempt} `{}`: {error}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(blocks: u64, available: u64, unit: u64, files: u64, free_files: u64) -> StatVfs {
        StatVfs {
            f_bsize: 4096,
            f_frsize: unit,
            f_blocks: blocks,
            f_bfree: available,
            f_bavail: available,
            f_files: files,
            f_ffree: free_files,
            f_favail: free_files,
            f_fsid: 0,
            f_flag: rustix::fs::StatVfsMountFlags::empty(),
            f_namemax: 255,
        }
    }

    #[test]
    fn a_file_system_that_reports_no_totals_has_unknown_free_space() {
        for (status, bytes, inodes) in [
            (status(0, 0, 0, 0, 0), None, None),
            (status(0, 0, 512, 0, 0), None, None),
            // Full, and without the unit of its numbers.
            (status(100, 0, 4096, 10, 0), Some(0), Some(0)),
            (status(100, 3, 0, 10, 4), Some(3 * 4096), Some(4)),
            // btrfs has no fixed number of inodes.
            (status(100, 3, 1024, 0, 0), Some(3 * 1024), None),
            // The database stores signed numbers.
            (
                status(u64::MAX, u64::MAX, 4096, 0, 0),
                Some(i64::MAX.unsigned_abs()),
                None,
            ),
        ] {
            let expected = FreeSpace { bytes, inodes };
            assert_eq!(FreeSpace::from(&status), expected);
        }
    }

    #[test]
    fn inodes_are_used_up_only_if_there_are_bytes_left() {
        for (status, expected) in [
            (status(100, 50, 4096, 400, 0), true),
            (status(0, 0, 0, 400, 0), true),
            (status(100, 50, 4096, 400, 1), false),
            (status(100, 50, 4096, 0, 0), false),
            (status(100, 1, 4096, 64, 0), false),
        ] {
            let free = FreeSpace::from(&status);
            assert_eq!(free.lacks_inodes(), expected, "{free:?}");
        }
    }

    #[test]
    fn a_new_file_never_replaces_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let [new, taken] = ["new", "taken"].map(|name| folder.path().join(name));
        fs::write(&new, "new").unwrap();
        fs::write(&taken, "taken").unwrap();
        let refused = rename_new(&new, &taken).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists, "{refused}");
        assert_eq!(fs::read_to_string(&taken).unwrap(), "taken");
        rename_new(&new, &folder.path().join("free")).unwrap();
        assert!(!new.exists());
    }
}
