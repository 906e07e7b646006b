//! Moves the children of a directory, where the directory itself cannot be exchanged.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, IFlags, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use super::attributes::adopt_project;
use super::layout::{Place, RestoreLayout};
use super::lock::lock_files;
use super::staging::{OwnFolder, names_in};
use crate::Error;
use crate::directory::{Identity, open_folder};

/// A file and a folder with a file, onto which an entry is moved in vain to learn what forbids it.
const PROBE_FILE: &[u8] = b"probe-file";
const PROBE_FOLDER: &[u8] = b"probe-folder";
/// How often a child is moved while the server's owner creates and removes its name.
const MOVES_MAX: u32 = 1000;
/// `OVERLAYFS_SUPER_MAGIC`.
const OVERLAYFS: u64 = 0x794c_7630;

/// What belongs to Holdfast in a directory, and is neither moved nor kept.
pub(super) struct OwnEntries {
    names: Vec<Vec<u8>>,
    /// The staging folder. The directory's owner can give it any other name.
    staging: Identity,
}

impl OwnEntries {
    /// Returns whether an entry of the directory itself belongs to Holdfast.
    pub(super) fn contain(&self, directory: BorrowedFd<'_>, name: &[u8]) -> bool {
        self.names.iter().any(|own| own == name)
            || rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|stat| self.is_staging(&stat))
    }

    /// Returns whether something is the staging folder. Its owner can move it to any depth.
    pub(super) fn is_staging(&self, stat: &Stat) -> bool {
        Identity::from(stat) == self.staging
    }
}

/// Returns what belongs to Holdfast in the directory.
pub(super) fn own_entries(
    layout: &RestoreLayout,
    staging: BorrowedFd<'_>,
) -> Result<OwnEntries, Error> {
    let fail = |error| Error::io("read", &layout.destination, error);
    let staging = rustix::fs::fstat(staging).map_err(fail)?;
    let mut names = Vec::new();
    if layout.place == Place::Inside {
        for base in [&layout.staging_name, &layout.leftovers_name] {
            let found = OwnFolder::find(layout, base)?;
            names.extend(found.into_iter().map(|folder| folder.name));
        }
    }
    if layout.locks_inside {
        names.extend(lock_files(layout).map_err(fail)?);
    }
    Ok(OwnEntries {
        names,
        staging: Identity::from(&staging),
    })
}

/// Refuses a directory whose children cannot all be moved, before the first one is.
///
/// Holdfast's own entries stay in the directory, so the archive must not hold their names.
pub(super) fn check_movable(
    layout: &RestoreLayout,
    staging: BorrowedFd<'_>,
    tree: BorrowedFd<'_>,
    own: &OwnEntries,
) -> Result<(), Error> {
    let fail = |error| Error::io("read", &layout.destination, error);
    for name in &own.names {
        match rustix::fs::statat(tree, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {}
            Ok(_) => return Err(Error::hostile(name, "Holdfast uses its name")),
            Err(error) => return Err(fail(error)),
        }
    }
    refuse_fixed(layout.target.as_fd(), &layout.destination)?;
    make_probes(staging).map_err(fail)?;
    let is_overlay = rustix::fs::fstatfs(&layout.target)
        .is_ok_and(|disk| u64::try_from(disk.f_type).is_ok_and(|kind| kind == OVERLAYFS));
    for name in names_in(&layout.target).map_err(fail)? {
        if own.contain(layout.target.as_fd(), &name) {
            continue;
        }
        if let Err(error) = probe(layout.target.as_fd(), &name, staging, is_overlay) {
            return Err(Error::Immovable {
                path: layout.destination.join(OsStr::from_bytes(&name)),
                reason: match error {
                    Errno::PERM => "it is immutable or append-only, or not this user's",
                    Errno::XDEV => {
                        "it is in a lower layer of overlayfs, which cannot move folders; copy the \
                         folder, and put the copy in its place"
                    }
                    Errno::BUSY => "a file system is mounted there",
                    _ => "the file system refuses it",
                },
            });
        }
    }
    Ok(())
}

/// Refuses an immutable or append-only directory.
pub(super) fn refuse_fixed(folder: BorrowedFd<'_>, path: &Path) -> Result<(), Error> {
    // File systems without such flags have nothing to refuse.
    match rustix::fs::ioctl_getflags(folder) {
        Ok(flags) if flags.intersects(IFlags::IMMUTABLE | IFlags::APPEND) => {
            Err(Error::Immovable {
                path: path.to_path_buf(),
                reason: "it is immutable or append-only (chattr)",
            })
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

fn make_probes(staging: BorrowedFd<'_>) -> Result<(), Errno> {
    let create = |folder: BorrowedFd<'_>| {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(folder, PROBE_FILE, flags, Mode::RUSR | Mode::WUSR).map(drop)
    };
    create(staging)?;
    match rustix::fs::mkdirat(staging, PROBE_FOLDER, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    create(open_folder(staging, PROBE_FOLDER)?.as_fd())
}

/// Asks the kernel what forbids to move an entry, without moving it: a folder never replaces a
/// file, a file never replaces a folder, and nothing replaces a folder that is not empty.
fn probe(
    from: BorrowedFd<'_>,
    name: &[u8],
    staging: BorrowedFd<'_>,
    is_overlay: bool,
) -> Result<(), Errno> {
    let stat = match rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW) {
        // The server's owner has removed it meanwhile.
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    // Only overlayfs must see the attempt. Elsewhere, the kernel answers before the file system.
    let onto = match is_folder && !is_overlay {
        true => PROBE_FILE,
        false => PROBE_FOLDER,
    };
    match rustix::fs::renameat(from, name, staging, onto) {
        Err(Errno::NOTDIR | Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) => Ok(()),
        Err(error) => Err(error),
        Ok(()) => rustix::fs::renameat(staging, onto, from, name),
    }
}

/// Moves all children from one folder to another, except Holdfast's own. An existing entry with the
/// same name is exchanged.
pub(super) fn move_children(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    own: Option<&OwnEntries>,
) -> Result<(), Errno> {
    for name in names_in(from)? {
        if own.is_some_and(|own| own.contain(from, &name)) {
            continue;
        }
        match move_child(from, to, &name) {
            // The server's owner has removed it meanwhile.
            Err(Errno::NOENT) if own.is_some() => {}
            Err(Errno::XDEV) if adopt_project(from, &name, to)? => move_child(from, to, &name)?,
            Err(Errno::ROFS) => move_snapshot(from, to, &name)?,
            other => other?,
        }
    }
    Ok(())
}

/// Moves a read-only btrfs snapshot, which must be writable for that.
fn move_snapshot(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let snapshot = open_folder(from, name)?;
    match holdfast_ioctl::set_subvolume_read_only(&snapshot, false) {
        Ok(true) => {}
        Ok(false) | Err(Errno::NOTTY | Errno::INVAL) => return Err(Errno::ROFS),
        Err(error) => return Err(error),
    }
    let moved = move_child(from, to, name);
    holdfast_ioctl::set_subvolume_read_only(&snapshot, true).and(moved)
}

fn move_child(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    for _ in 0..MOVES_MAX {
        match rustix::fs::renameat_with(from, name, to, name, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            // The file system does not support these flags. Without them, a file that is created
            // at this moment could be replaced.
            Err(Errno::INVAL | Errno::NOSYS) => return rustix::fs::renameat(from, name, to, name),
            other => return other,
        }
        match rustix::fs::renameat_with(from, name, to, name, RenameFlags::EXCHANGE) {
            // One of the two is gone: the server's owner creates and removes it meanwhile.
            Err(Errno::NOENT) => {}
            other => return other,
        }
    }
    Err(Errno::BUSY)
}
