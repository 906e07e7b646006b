//! Puts an entry of the server into the staged tree: as a hard link, or else as a copy.
//!
//! Links are refused between btrfs subvolumes, between XFS projects, for files of other users, on
//! some file systems, and beyond a number of names.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::attributes::copy_xattrs;
use crate::Control;
use crate::directory::{Identity, open_folder};
use crate::lease::{self, LeaseWait};
use crate::summary::Notes;

/// The most copied files whose other names are remembered. Beyond, a name becomes a file.
const LINKS_MAX: usize = 10_000;

/// A name in an open folder.
pub(super) type NameIn<'a> = (BorrowedFd<'a>, &'a [u8]);

/// Links or copies entries into the staged tree.
pub(super) struct Copier<'a> {
    tree: &'a OwnedFd,
    control: &'a Control,
    leases: LeaseWait,
    /// The paths of copied files that have other names, by the original.
    copied: HashMap<Identity, Vec<Vec<u8>>>,
}

impl<'a> Copier<'a> {
    pub(super) fn new(tree: &'a OwnedFd, control: &'a Control) -> Self {
        Self {
            tree,
            control,
            leases: LeaseWait::new(lease::WAIT),
            copied: HashMap::new(),
        }
    }

    /// Links an entry that is not a folder, or copies it. `path` is its new path.
    pub(super) fn link_or_copy(
        &mut self,
        (from, name): NameIn<'_>,
        (to, new_name): NameIn<'_>,
        path: &[Vec<u8>],
        notes: &mut Notes,
    ) -> Result<(), Errno> {
        match rustix::fs::linkat(from, name, to, new_name, AtFlags::empty()) {
            Ok(()) => return Ok(()),
            Err(
                error @ (Errno::NOENT | Errno::EXIST | Errno::NOSPC | Errno::DQUOT | Errno::ROFS),
            ) => return Err(error),
            // File systems without links answer with very different errors. If it is the disk that
            // fails, so does the copy.
            Err(_) => {}
        }
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.copy_file((from, name), (to, new_name), path, notes),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(from, name, Vec::new())?;
                rustix::fs::symlinkat(target.as_c_str(), to, new_name)?;
                set_owner_of_name(to, new_name, &stat)?;
                let times = times_of(&stat);
                rustix::fs::utimensat(to, new_name, &times, AtFlags::SYMLINK_NOFOLLOW)
            }
            kind @ (FileType::Fifo | FileType::Socket) => {
                let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
                rustix::fs::mknodat(to, new_name, kind, mode, 0)?;
                set_owner_of_name(to, new_name, &stat)
            }
            _ => {
                let reason = "a device that could not be linked was not kept";
                notes.add(&path.join(&b'/'), reason);
                Ok(())
            }
        }
    }

    /// Copies a file with its holes and attributes. Names of one file stay names of one copy.
    fn copy_file(
        &mut self,
        (from, name): NameIn<'_>,
        (to, new_name): NameIn<'_>,
        path: &[Vec<u8>],
        notes: &mut Notes,
    ) -> Result<(), Errno> {
        let source = self.leases.open(from, name, Some(self.control))?;
        let stat = rustix::fs::fstat(&source)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Errno::STALE);
        }
        if let Some(first) = self.copied.get(&Identity::from(&stat))
            && self.link_copy(first, to, new_name).is_ok()
        {
            return Ok(());
        }
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let copy = rustix::fs::openat(to, new_name, flags, Mode::RUSR | Mode::WUSR)?;
        // Where the file system can, the two share their data.
        if rustix::fs::ioctl_ficlone(&copy, &source).is_err() {
            self.copy_contents(&source, &copy, u64::try_from(stat.st_size).unwrap_or(0))?;
        }
        self.copy_attributes(source.as_fd(), copy.as_fd(), path, notes)?;
        if stat.st_nlink > 1 && self.copied.len() < LINKS_MAX {
            self.copied.insert(Identity::from(&stat), path.to_vec());
        }
        Ok(())
    }

    /// Copies the data of a file, and leaves its holes.
    fn copy_contents(&self, from: &OwnedFd, to: &OwnedFd, size: u64) -> Result<(), Errno> {
        let mut at = 0;
        while at < size {
            let (start, end) = match rustix::fs::seek(from, SeekFrom::Data(at)) {
                Ok(start) => (start, rustix::fs::seek(from, SeekFrom::Hole(start))?),
                // Only a hole is left.
                Err(Errno::NXIO) => break,
                // The file system does not know holes.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => (at, size),
                Err(error) => return Err(error),
            };
            self.copy_range(from, to, start, end)?;
            at = end;
        }
        rustix::fs::ftruncate(to, size)
    }

    fn copy_range(&self, from: &OwnedFd, to: &OwnedFd, start: u64, end: u64) -> Result<(), Errno> {
        let mut buffer = vec![0; 256 << 10];
        let mut at = start;
        while at < end {
            if self.control.is_cancelled() {
                return Err(Errno::CANCELED);
            }
            let wanted = buffer
                .len()
                .min(usize::try_from(end - at).unwrap_or(usize::MAX));
            let read = match rustix::io::pread(from, &mut buffer[..wanted], at) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error),
            };
            let mut written = 0;
            while written < read {
                match rustix::io::pwrite(to, &buffer[written..read], at + written as u64) {
                    Ok(length) => written += length,
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error),
                }
            }
            at += read as u64;
        }
        Ok(())
    }

    /// Links a copy that was made before, by its path in the staged tree.
    fn link_copy(
        &self,
        first: &[Vec<u8>],
        to: BorrowedFd<'_>,
        new_name: &[u8],
    ) -> Result<(), Errno> {
        let (name, folders) = first.split_last().ok_or(Errno::NOENT)?;
        let mut folder = rustix::io::dup(self.tree)?;
        for part in folders {
            folder = open_folder(folder.as_fd(), part)?;
        }
        rustix::fs::linkat(&folder, name.as_slice(), to, new_name, AtFlags::empty())
    }

    /// Copies owner, mode, extended attributes and times.
    pub(super) fn copy_attributes(
        &self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        path: &[Vec<u8>],
        notes: &mut Notes,
    ) -> Result<(), Errno> {
        let stat = rustix::fs::fstat(from)?;
        let (owner, group) = owner_of(&stat);
        match rustix::fs::fchown(to, owner, group) {
            Ok(()) => {}
            Err(Errno::PERM) => {
                let own = rustix::fs::fstat(to)?;
                if (own.st_uid, own.st_gid) != (stat.st_uid, stat.st_gid) {
                    notes.add(&path.join(&b'/'), "its owner could not be kept");
                }
            }
            Err(error) => return Err(error),
        }
        rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
        copy_xattrs(from, to, &path.join(&b'/'), notes);
        rustix::fs::futimens(to, &times_of(&stat))
    }

    /// Sets mode and times.
    pub(super) fn set_attributes(&self, folder: BorrowedFd<'_>, like: &Stat) -> Result<(), Errno> {
        rustix::fs::fchmod(folder, Mode::from_raw_mode(like.st_mode & 0o7777))?;
        rustix::fs::futimens(folder, &times_of(like))
    }
}

/// Sets the owner of a link or special file, if the process is allowed to.
fn set_owner_of_name(to: BorrowedFd<'_>, name: &[u8], like: &Stat) -> Result<(), Errno> {
    let (owner, group) = owner_of(like);
    match rustix::fs::chownat(to, name, owner, group, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(()) | Err(Errno::PERM) => Ok(()),
        Err(error) => Err(error),
    }
}

fn owner_of(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (
        Some(Uid::from_raw(stat.st_uid)),
        Some(Gid::from_raw(stat.st_gid)),
    )
}

fn times_of(stat: &Stat) -> Timestamps {
    let time = |tv_sec, nanoseconds| Timespec {
        tv_sec,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}
