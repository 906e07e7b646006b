//! What a file system can still store, and whether its times tell of every change.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{FsWord, StatVfs};

/// What a file system can still store. `None` means that it does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FreeSpace {
    /// Bytes that an unprivileged user can write.
    pub(crate) bytes: Option<u64>,
    /// Inodes: files, folders and links that can be created.
    pub(crate) inodes: Option<u64>,
}

impl FreeSpace {
    /// Unknown space.
    const UNKNOWN: Self = Self {
        bytes: None,
        inodes: None,
    };

    /// Returns the free space of the file system of a file or folder.
    pub(crate) fn of(file: impl AsFd) -> Self {
        rustix::fs::fstatvfs(file).map_or(Self::UNKNOWN, |status| Self::from(&status))
    }

    /// Returns whether there are bytes, but no inodes left. A full XFS reports no free inodes
    /// either, because it makes them from free space.
    pub(crate) fn lacks_inodes(self) -> bool {
        const FULL_BYTES: u64 = 64 << 10;
        self.inodes == Some(0) && self.bytes.is_none_or(|bytes| bytes >= FULL_BYTES)
    }
}

impl From<&StatVfs> for FreeSpace {
    /// A file system that reports a total of zero does not report anything.
    fn from(status: &StatVfs) -> Self {
        let unit = match status.f_frsize {
            0 => status.f_bsize,
            unit => unit,
        };
        let bytes = status.f_bavail.saturating_mul(unit);
        Self {
            bytes: (status.f_blocks > 0 && unit > 0).then_some(bytes),
            inodes: (status.f_files > 0).then_some(status.f_favail),
        }
    }
}

/// Returns whether each change of a file moves its status change time, at the latest when it is
/// written back. On tmpfs, a write through a memory map never does. A file system in user space or
/// on another machine may have a clock of its own, or none.
pub(crate) fn times_tell_of_changes(file: impl AsFd) -> bool {
    is_of_type(file, &[EXT, XFS, BTRFS, ZFS, F2FS, BCACHEFS])
}

/// Returns whether two files of a file system can share pages.
pub(crate) fn shares_pages(file: impl AsFd) -> bool {
    is_of_type(file, &[XFS, BTRFS, BCACHEFS])
}

/// ext2, ext3 and ext4.
const EXT: FsWord = 0xef53;
const XFS: FsWord = 0x5846_5342;
const BTRFS: FsWord = 0x9123_683e;
const ZFS: FsWord = 0x2fc1_2fc1;
const F2FS: FsWord = 0xf2f5_2010;
const BCACHEFS: FsWord = 0xca45_1a4e;

fn is_of_type(file: impl AsFd, types: &[FsWord]) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|status| types.contains(&status.f_type))
}

/// Returns whether a write failed because bytes, inodes or a quota are used up.
pub(crate) fn is_disk_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_reports_no_totals_has_unknown_free_space() {
        let status = |blocks, unit, files| StatVfs {
            f_bsize: 4096,
            f_frsize: unit,
            f_blocks: blocks,
            f_bfree: 0,
            f_bavail: 0,
            f_files: files,
            f_ffree: 0,
            f_favail: 0,
            f_fsid: 0,
            f_flag: rustix::fs::StatVfsMountFlags::empty(),
            f_namemax: 255,
        };
        for (status, bytes, inodes) in [
            (status(0, 0, 0), None, None),
            (status(0, 512, 0), None, None),
            (status(10, 0, 0), Some(0), None),
            (status(10, 512, 9), Some(0), Some(0)),
        ] {
            assert_eq!(FreeSpace::from(&status), FreeSpace { bytes, inodes });
        }
        let no_inodes = FreeSpace {
            bytes: None,
            inodes: Some(0),
        };
        assert!(no_inodes.lacks_inodes());
        let full = FreeSpace {
            bytes: Some(4096),
            ..no_inodes
        };
        assert!(!full.lacks_inodes());
        assert!(!FreeSpace::UNKNOWN.lacks_inodes());
    }
}
