//! Writes one file or symlink into the staging folder: contents, holes and attributes.

use std::io::BufRead;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::entry_error::entry_error;
use crate::file_system::FreeSpace;
use crate::tar_format::{TarEntry, TarReader, Time};
use crate::{Control, Error};

/// Which attributes of the archive are restored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttributePolicy {
    /// Whether entries get the owners that the archive states.
    pub(crate) apply_owner: bool,
    /// The owner of every entry otherwise; `None` leaves the owner of the process.
    pub(crate) default_owner: Option<(Uid, Gid)>,
    /// Whether setuid, setgid and sticky bits are restored.
    pub(crate) special_modes: bool,
}

/// The attributes of an entry that are restored.
#[derive(Debug, Clone)]
pub(crate) struct Attributes {
    pub(crate) mode: u32,
    pub(crate) owner: Option<(Uid, Gid)>,
    pub(crate) mtime: Time,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Attributes {
    pub(crate) fn from_entry(entry: &TarEntry, policy: AttributePolicy) -> Self {
        let mask = if policy.special_modes { 0o7777 } else { 0o777 };
        // Ignores numbers that are out of range, or that mean "no change" to `chown`.
        let number = |id: u64| u32::try_from(id).ok().filter(|&id| id != u32::MAX);
        let archived = number(entry.uid).zip(number(entry.gid));
        let archived = archived.map(|(uid, gid)| (Uid::from_raw(uid), Gid::from_raw(gid)));
        let owner = if policy.apply_owner {
            archived
        } else {
            policy.default_owner
        };
        // Attributes that may grant privileges are restored only together with the owner.
        let wanted = |name: &[u8]| policy.apply_owner || name.starts_with(b"user.");
        let xattrs = entry
            .xattrs
            .iter()
            .filter(|(name, _)| wanted(name))
            .cloned()
            .collect();
        Self {
            mode: entry.mode & mask,
            owner,
            mtime: entry.mtime,
            xattrs,
        }
    }

    /// Sets all attributes of an open file or folder; the times last, because the rest changes
    /// them.
    pub(super) fn apply(&self, file: BorrowedFd<'_>, mode_is_set: bool) -> Result<(), Errno> {
        if let Some((uid, gid)) = self.owner {
            rustix::fs::fchown(file, Some(uid), Some(gid))?;
        }
        if !mode_is_set {
            rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode))?;
        }
        for (name, value) in &self.xattrs {
            match rustix::fs::fsetxattr(file, name.as_slice(), value, XattrFlags::empty()) {
                // A disk without extended attributes does not stop a restore.
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

/// A file that is being written.
pub(super) struct NewFile<'a> {
    handle: OwnedFd,
    attributes: &'a Attributes,
    mode_is_set: bool,
}

impl<'a> NewFile<'a> {
    /// Creates a file. Fails if the name exists.
    pub(super) fn create(
        folder: BorrowedFd<'_>,
        name: &[u8],
        attributes: &'a Attributes,
        umask: u32,
    ) -> Result<Self, Errno> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // If the umask removes no bit, the mode does not have to be set again.
        let mode_is_set = attributes.mode & (umask | 0o7000) == 0 && attributes.owner.is_none();
        let mode = if mode_is_set { attributes.mode } else { 0o600 };
        let handle = rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(mode))?;
        Ok(Self {
            handle,
            attributes,
            mode_is_set,
        })
    }

    pub(super) fn write_all(&self, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() {
            match rustix::io::write(&self.handle, bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write_at(&self, mut bytes: &[u8], mut offset: u64) -> Result<(), Errno> {
        while !bytes.is_empty() {
            match rustix::io::pwrite(&self.handle, bytes, offset) {
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

    /// Sets the attributes of the file.
    pub(super) fn finish(self) -> Result<(), Errno> {
        self.attributes.apply(self.handle.as_fd(), self.mode_is_set)
    }

    /// Writes the contents of the entry. Holes stay holes.
    pub(super) fn fill<R: BufRead>(
        &self,
        entry: &TarEntry,
        tar: &mut TarReader<R>,
        guard: &mut SpaceGuard<'_>,
    ) -> Result<(), Error> {
        let fail = |error| entry_error(&entry.path, error);
        let Some(segments) = &entry.segments else {
            loop {
                let bytes = tar.data()?;
                if bytes.is_empty() {
                    return Ok(());
                }
                self.write_all(bytes).map_err(fail)?;
                guard.add_written(bytes.len() as u64)?;
            }
        };
        for segment in segments {
            let (mut offset, mut left) = (segment.offset, segment.length);
            while left > 0 {
                let bytes = tar.data_up_to(left)?;
                if bytes.is_empty() {
                    return Err(Error::corrupt("it ends too early"));
                }
                let length = bytes.len() as u64;
                self.write_at(bytes, offset).map_err(fail)?;
                offset += length;
                left -= length;
                guard.add_written(length)?;
            }
        }
        rustix::fs::ftruncate(&self.handle, entry.size).map_err(fail)?;
        guard.control.add_bytes(entry.size - entry.stored);
        Ok(())
    }
}

/// Counts written bytes: reports progress, checks for cancellation, and stops before the disk is
/// full.
pub(super) struct SpaceGuard<'a> {
    pub(super) control: &'a Control,
    root: OwnedFd,
    /// Bytes since the free space was checked.
    unchecked: u64,
}

impl<'a> SpaceGuard<'a> {
    /// Bytes between two checks of the free space, and bytes that stay free.
    const STEP: u64 = 64 << 20;

    pub(super) fn new(root: OwnedFd, control: &'a Control) -> Self {
        Self {
            control,
            root,
            unchecked: 0,
        }
    }

    /// Counts bytes that were written.
    pub(super) fn add_written(&mut self, bytes: u64) -> Result<(), Error> {
        self.control.add_bytes(bytes);
        self.reserve(bytes)
    }

    /// Counts bytes that another thread writes and reports as progress.
    pub(super) fn reserve(&mut self, bytes: u64) -> Result<(), Error> {
        self.control.check()?;
        self.unchecked += bytes;
        if self.unchecked < Self::STEP {
            return Ok(());
        }
        self.unchecked = 0;
        match FreeSpace::of(&self.root).bytes {
            Some(available) if available < Self::STEP => Err(Error::NoSpace {
                needed: Self::STEP,
                available,
            }),
            _ => Ok(()),
        }
    }
}

/// Creates a symlink with an unchanged target.
pub(super) fn symlink(
    folder: BorrowedFd<'_>,
    name: &[u8],
    target: &[u8],
    attributes: &Attributes,
) -> Result<(), Errno> {
    rustix::fs::symlinkat(target, folder, name)?;
    if let Some((uid, gid)) = attributes.owner {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(folder, name, Some(uid), Some(gid), flags)?;
    }
    let times = attributes.times();
    rustix::fs::utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}
