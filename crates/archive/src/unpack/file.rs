//! Writes one file or symlink into the staging folder: contents and holes.

use std::io::BufRead;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::attributes::Attributes;
use super::entry_error::entry_error;
use super::refused::Refused;
use crate::file_system::FreeSpace;
use crate::tar_format::{TarEntry, TarReader};
use crate::{Control, Error};

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
        let mode_is_set = attributes.mode & (umask | 0o7000) == 0
            && attributes.owner.is_none()
            && attributes.acls.is_empty();
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
    pub(super) fn finish(self, refused: &Refused) -> Result<(), Errno> {
        let file = self.handle.as_fd();
        self.attributes.apply(file, self.mode_is_set, refused)
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
    refused: &Refused,
) -> Result<(), Errno> {
    rustix::fs::symlinkat(target, folder, name)?;
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    if let Some((uid, gid)) = attributes.owner {
        let owned = rustix::fs::chownat(folder, name, Some(uid), Some(gid), flags);
        refused.owners.accept(owned)?;
    }
    let timed = rustix::fs::utimensat(folder, name, &attributes.times(), flags);
    refused.times.accept(timed).map(drop)
}

/// Copies a file to another name of it, where the file system has no hard links or no more of them.
pub(super) fn copy_instead_of_link(
    from: (BorrowedFd<'_>, &[u8]),
    to: (BorrowedFd<'_>, &[u8]),
    attributes: &Attributes,
    guard: &mut SpaceGuard<'_>,
    refused: &Refused,
) -> Result<(), Error> {
    let fail = |error: Errno| entry_error(to.1, error);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let source = rustix::fs::openat(from.0, from.1, flags, Mode::empty()).map_err(fail)?;
    let new = NewFile::create(to.0, to.1, attributes, 0o777).map_err(fail)?;
    let mut buffer = vec![0; 256 << 10];
    let (mut offset, mut length) = (0, 0);
    loop {
        match rustix::io::pread(&source, &mut buffer, offset) {
            Ok(0) => break,
            Ok(read) => {
                offset += read as u64;
                // Holes stay holes.
                if buffer[..read].iter().any(|&byte| byte != 0) {
                    new.write_at(&buffer[..read], length).map_err(fail)?;
                }
                length = offset;
                guard.reserve(read as u64)?;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(fail(error)),
        }
    }
    rustix::fs::ftruncate(&new.handle, length).map_err(fail)?;
    new.finish(refused).map_err(fail)
}
