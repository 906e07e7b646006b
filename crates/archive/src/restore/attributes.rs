//! Attributes of the server directory that its new tree must have.
//!
//! New files inherit some of them from the folder in which they are created: the project whose
//! quota they count for, and flags such as "no copy on write". Those are set before the archive is
//! unpacked. Owner, mode, ACLs and other extended attributes are copied afterwards.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Gid, IFlags, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;

use crate::summary::Notes;

/// The flags that users set on folders, except those that forbid changes.
const FLAGS: [IFlags; 8] = [
    IFlags::COMPRESSED,
    // FS_NOCOMP_FL: no compression.
    IFlags::from_bits_retain(0x400),
    IFlags::NOCOW,
    IFlags::NOATIME,
    IFlags::NODUMP,
    IFlags::SYNC,
    IFlags::DIRSYNC,
    // FS_CASEFOLD_FL: names are compared without case. Only an empty folder takes it.
    IFlags::from_bits_retain(0x4000_0000),
];
/// `FS_ENCRYPT_FL`. It cannot be set: new entries inherit it from their folder.
const ENCRYPTED: IFlags = IFlags::from_bits_retain(0x800);
/// `FS_XFLAG_PROJINHERIT`.
const PROJECT_INHERIT: u32 = 0x200;
/// Extent size hints, real-time data, no defragmentation, allocation by streams, and direct access
/// to memory: `FS_XFLAG_EXTSZINHERIT`, `RTINHERIT`, `NODEFRAG`, `FILESTREAM`, `DAX`, `COWEXTSIZE`.
const HINTS: u32 = 0x1000 | 0x100 | 0x2000 | 0x4000 | 0x8000 | 0x1_0000;

/// Sets what new files inherit.
///
/// Fails if the project cannot be set, because the server would leave its quota. Other attributes
/// become notes.
pub(super) fn copy_inherited(
    directory: BorrowedFd<'_>,
    tree: BorrowedFd<'_>,
    notes: &mut Notes,
) -> Result<(), Errno> {
    copy_flags(directory, tree, notes);
    let wanted = match holdfast_ioctl::extended_flags(directory) {
        Ok(wanted) => wanted,
        Err(error) => {
            // File systems without these attributes have no projects either.
            if error == Errno::BADF {
                let reason = "its project and flags were not kept: this user may not read it";
                notes.add(b".", reason);
            }
            return Ok(());
        }
    };
    let Ok(present) = holdfast_ioctl::extended_flags(tree) else {
        return Ok(());
    };
    let mut changed = present;
    changed.flags = present.flags & !HINTS | wanted.flags & HINTS;
    changed.extent_bytes = wanted.extent_bytes;
    changed.cow_extent_bytes = wanted.cow_extent_bytes;
    if changed != present
        && let Err(error) = holdfast_ioctl::set_extended_flags(tree, &changed)
    {
        notes.add(b".", not_kept("an allocation hint", error));
    }
    set_project(tree, wanted.project, wanted.flags & PROJECT_INHERIT != 0)
}

fn copy_flags(directory: BorrowedFd<'_>, tree: BorrowedFd<'_>, notes: &mut Notes) {
    let Ok(wanted) = rustix::fs::ioctl_getflags(directory) else {
        return;
    };
    let Ok(mut present) = rustix::fs::ioctl_getflags(tree) else {
        return;
    };
    for flag in FLAGS {
        if wanted.contains(flag) == present.contains(flag) {
            continue;
        }
        match rustix::fs::ioctl_setflags(tree, present ^ flag) {
            Ok(()) => present ^= flag,
            Err(error) => {
                let name = format!("the flag {:#x}", flag.bits());
                notes.add(b".", not_kept(&name, error));
            }
        }
    }
}

/// Sets the project of a file or folder, and whether new files in it inherit the project.
fn set_project(file: BorrowedFd<'_>, project: u32, inherits: bool) -> Result<(), Errno> {
    let mut attributes = holdfast_ioctl::extended_flags(file)?;
    let flag = if inherits { PROJECT_INHERIT } else { 0 };
    if attributes.project == project && attributes.flags & PROJECT_INHERIT == flag {
        return Ok(());
    }
    attributes.project = project;
    attributes.flags = attributes.flags & !PROJECT_INHERIT | flag;
    holdfast_ioctl::set_extended_flags(file, &attributes)
}

/// Returns whether the entries of a folder are encrypted (fscrypt), with a key of its own or with
/// that of its parent.
pub(super) fn is_encrypted(folder: BorrowedFd<'_>) -> bool {
    rustix::fs::ioctl_getflags(folder).is_ok_and(|flags| flags.contains(ENCRYPTED))
}

/// Returns whether a directory belongs to a project, or passes one on.
pub(super) fn has_project(directory: BorrowedFd<'_>) -> bool {
    holdfast_ioctl::extended_flags(directory)
        .is_ok_and(|attributes| attributes.project != 0 || attributes.flags & PROJECT_INHERIT != 0)
}

/// Makes sure that a folder does not pass on its project, so that entries of any project can be
/// moved into it.
pub(super) fn stop_inheritance(folder: BorrowedFd<'_>) -> Result<(), Errno> {
    match holdfast_ioctl::extended_flags(folder) {
        Ok(attributes) if attributes.flags & PROJECT_INHERIT != 0 => {
            set_project(folder, attributes.project, false)
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Gives an entry the project of a folder that takes only entries of its own project. Returns
/// whether the entry had another one.
pub(super) fn adopt_project(
    from: BorrowedFd<'_>,
    name: &[u8],
    folder: BorrowedFd<'_>,
) -> Result<bool, Errno> {
    let folder = match holdfast_ioctl::extended_flags(folder) {
        Ok(attributes) if attributes.flags & PROJECT_INHERIT != 0 => attributes,
        Ok(_) | Err(_) => return Ok(false),
    };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(from, name, flags, Mode::empty())?;
    let attributes = holdfast_ioctl::extended_flags(&file)?;
    if attributes.project == folder.project {
        return Ok(false);
    }
    let inherits = attributes.flags & PROJECT_INHERIT != 0;
    set_project(file.as_fd(), folder.project, inherits).map(|()| true)
}

/// Copies owner, mode and extended attributes of the directory to its new tree. Returns false if
/// the process may not set the owner.
pub(super) fn copy_to_root(
    directory: BorrowedFd<'_>,
    tree: BorrowedFd<'_>,
    notes: &mut Notes,
) -> Result<bool, Errno> {
    let (like, own) = (rustix::fs::fstat(directory)?, rustix::fs::fstat(tree)?);
    if (like.st_uid, like.st_gid) != (own.st_uid, own.st_gid) {
        let owner = Some(Uid::from_raw(like.st_uid));
        let group = Some(Gid::from_raw(like.st_gid));
        match rustix::fs::fchown(tree, owner, group) {
            Ok(()) => {}
            Err(Errno::PERM) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    rustix::fs::fchmod(tree, Mode::from_raw_mode(like.st_mode & 0o7777))?;
    // An ACL changes the mode, to the same value.
    copy_xattrs(directory, tree, b".", notes);
    Ok(true)
}

/// Copies all extended attributes, ACLs among them. One that cannot be set becomes a note.
pub(super) fn copy_xattrs(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    path: &[u8],
    notes: &mut Notes,
) {
    let mut names = Vec::new();
    let unknown = |error: Errno| matches!(error, Errno::OPNOTSUPP | Errno::NOSYS);
    loop {
        names.resize(names.capacity().max(1024), 0);
        match rustix::fs::flistxattr(from, names.as_mut_slice()) {
            Ok(length) => {
                names.truncate(length);
                break;
            }
            Err(Errno::RANGE) if names.len() < MAX_XATTR_BYTES => names.reserve(names.len() * 2),
            Err(error) => {
                if !unknown(error) {
                    notes.add(path, not_kept("its extended attributes", error));
                }
                return;
            }
        }
    }
    let mut value = vec![0; MAX_XATTR_BYTES];
    for name in names
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
    {
        let copied = rustix::fs::fgetxattr(from, name, value.as_mut_slice()).and_then(|length| {
            rustix::fs::fsetxattr(to, name, &value[..length], XattrFlags::empty())
        });
        match copied {
            Ok(()) | Err(Errno::NODATA) => {}
            Err(error) => {
                let name = format!("its attribute {}", crate::error::lossy(name));
                notes.add(path, not_kept(&name, error));
            }
        }
    }
}

/// The longest list of names, and the longest value, that Linux allows.
const MAX_XATTR_BYTES: usize = 64 << 10;

fn not_kept(what: &str, error: Errno) -> String {
    format!("{what} could not be kept: {}", std::io::Error::from(error))
}
