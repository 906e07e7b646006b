//! One file or symlink in the staging folder, with its bytes, holes and attributes.

use std::io::BufRead;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::{Apply, Folder, refused};
use crate::tape::{Entry, TapeReader, Time};
use crate::{Control, Error};

/// What is set on an entry beside its contents.
#[derive(Debug, Clone)]
pub(crate) struct Attributes {
    pub(crate) mode: u32,
    pub(crate) owner: Option<(Uid, Gid)>,
    pub(crate) mtime: Time,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Attributes {
    pub(crate) fn of(entry: &Entry, apply: Apply) -> Self {
        let mask = if apply.special_modes { 0o7777 } else { 0o777 };
        // Numbers that no system has (or "no change") are as good as none.
        let number = |id: u64| u32::try_from(id).ok().filter(|&id| id != u32::MAX);
        let owner = number(entry.uid)
            .zip(number(entry.gid))
            .filter(|_| apply.owner);
        // What could hand out privileges comes back only together with the owner.
        let wanted = |name: &[u8]| apply.owner || name.starts_with(b"user.");
        let xattrs = entry
            .xattrs
            .iter()
            .filter(|(name, _)| wanted(name))
            .cloned()
            .collect();
        Self {
            mode: entry.mode & mask,
            owner: owner.map(|(uid, gid)| (Uid::from_raw(uid), Gid::from_raw(gid))),
            mtime: entry.mtime,
            xattrs,
        }
    }

    /// Sets everything on an open file or folder; the times come last.
    pub(super) fn apply(&self, file: BorrowedFd<'_>, mode_is_set: bool) -> Result<(), Errno> {
        if let Some((uid, gid)) = self.owner {
            rustix::fs::fchown(file, Some(uid), Some(gid))?;
        }
        if !mode_is_set {
            rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode))?;
        }
        for (name, value) in &self.xattrs {
            match rustix::fs::fsetxattr(file, name.as_slice(), value, XattrFlags::empty()) {
                // A disk without attributes is no reason to lose a server's files.
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
                Err(error) => return Err(error),
            }
        }
        rustix::fs::futimens(file, &self.times())
    }

    fn times(&self) -> Timestamps {
        let time = Timespec {
            tv_sec: self.mtime.seconds,
            tv_nsec: i64::from(self.mtime.nanoseconds),
        };
        Timestamps {
            last_access: time,
            last_modification: time,
        }
    }
}

/// Creates a file and writes what `tape` holds for it.
pub(super) fn write<R: BufRead>(
    folder: &Folder,
    name: &[u8],
    entry: &Entry,
    attributes: &Attributes,
    tape: &mut TapeReader<R>,
    control: &Control,
) -> Result<(), Error> {
    let fail = |error| refused(&entry.path, error);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder.as_fd(), name, flags, Mode::RUSR | Mode::WUSR);
    let file = file.map_err(fail)?;
    let broken = |error| {
        Error::io(
            "write",
            std::path::Path::new(&crate::error::lossy(&entry.path)),
            error,
        )
    };
    if let Some(segments) = &entry.segments {
        for segment in segments {
            let (mut offset, mut left) = (segment.offset, segment.length);
            while left > 0 {
                let bytes = tape.data_up_to(left)?;
                if bytes.is_empty() {
                    return Err(Error::corrupt("it ends too early"));
                }
                let length = bytes.len() as u64;
                write_at(file.as_fd(), bytes, offset).map_err(broken)?;
                offset += length;
                left -= length;
                control.add_bytes(length);
                control.check()?;
            }
        }
        rustix::fs::ftruncate(&file, entry.size).map_err(broken)?;
        control.add_bytes(entry.size - entry.stored);
    } else {
        loop {
            let bytes = tape.data()?;
            if bytes.is_empty() {
                break;
            }
            write_all(file.as_fd(), bytes).map_err(broken)?;
            control.add_bytes(bytes.len() as u64);
            control.check()?;
        }
    }
    attributes.apply(file.as_fd(), false).map_err(broken)
}

/// Creates a symlink with its target verbatim.
pub(super) fn symlink(
    folder: &Folder,
    name: &[u8],
    target: &[u8],
    attributes: &Attributes,
) -> Result<(), Errno> {
    rustix::fs::symlinkat(target, folder.as_fd(), name)?;
    if let Some((uid, gid)) = attributes.owner {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(folder.as_fd(), name, Some(uid), Some(gid), flags)?;
    }
    let times = attributes.times();
    rustix::fs::utimensat(folder.as_fd(), name, &times, AtFlags::SYMLINK_NOFOLLOW)
}

fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn write_at(file: BorrowedFd<'_>, mut bytes: &[u8], mut offset: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(file, bytes, offset) {
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
