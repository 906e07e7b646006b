//! System calls that no other crate wraps: attributes of files and btrfs subvolumes, priorities of
//! threads, and the contents of the page cache.
//!
//! This is the only crate with unsafe code. Each block makes one system call, with numbers or with
//! a structure whose layout the kernel's headers fix. The crate must contain nothing else.

mod page_cache;
mod thread_priority;

use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::ioctl::{Getter, Opcode, Setter, ioctl, opcode};

pub use page_cache::{page_bytes, resident_pages};
pub use thread_priority::{IoClass, set_batch_scheduling, set_io_class};

/// Attributes of a file or folder: its flags, and the project whose quota it counts for.
///
/// This is `struct fsxattr` of `linux/fs.h`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExtendedFlags {
    /// The bits `FS_XFLAG_*`.
    pub flags: u32,
    /// The extent size hint in bytes.
    pub extent_bytes: u32,
    extents: u32,
    /// The project ID; 0 means no project.
    pub project: u32,
    /// The extent size hint of copies on write, in bytes.
    pub cow_extent_bytes: u32,
    padding: [u8; 8],
}

const GET_EXTENDED_FLAGS: Opcode = opcode::read::<ExtendedFlags>(b'X', 31);
const SET_EXTENDED_FLAGS: Opcode = opcode::write::<ExtendedFlags>(b'X', 32);
const GET_SUBVOLUME_FLAGS: Opcode = opcode::read::<u64>(0x94, 25);
const SET_SUBVOLUME_FLAGS: Opcode = opcode::write::<u64>(0x94, 26);
/// `BTRFS_SUBVOL_RDONLY`.
const SUBVOLUME_READ_ONLY: u64 = 1 << 1;

/// Reads the attributes of an open file or folder (`FS_IOC_FSGETXATTR`).
///
/// # Errors
/// [`Errno::NOTTY`] or [`Errno::OPNOTSUPP`] if the file system has no such attributes.
#[expect(unsafe_code, reason = "no crate wraps this ioctl")]
pub fn extended_flags(file: impl AsFd) -> Result<ExtendedFlags, Errno> {
    // SAFETY: FS_IOC_FSGETXATTR writes one `struct fsxattr`, which is `ExtendedFlags`. Every bit
    // pattern is valid for its integers.
    unsafe { ioctl(file, Getter::<GET_EXTENDED_FLAGS, ExtendedFlags>::new()) }
}

/// Changes the attributes of an open file or folder (`FS_IOC_FSSETXATTR`).
///
/// # Errors
/// [`Errno::PERM`] if the process may not, [`Errno::INVAL`] or [`Errno::OPNOTSUPP`] if the file
/// system has no such attribute.
#[expect(unsafe_code, reason = "no crate wraps this ioctl")]
pub fn set_extended_flags(file: impl AsFd, attributes: &ExtendedFlags) -> Result<(), Errno> {
    // SAFETY: FS_IOC_FSSETXATTR reads one `struct fsxattr`, which is `ExtendedFlags`.
    unsafe {
        let setter = Setter::<SET_EXTENDED_FLAGS, ExtendedFlags>::new(*attributes);
        ioctl(file, setter)
    }
}

/// Makes an open btrfs subvolume read-only or writable. Returns whether that was a change.
///
/// # Errors
/// [`Errno::NOTTY`] or [`Errno::INVAL`] if it is no subvolume, [`Errno::PERM`] if the process is
/// neither its owner nor privileged.
#[expect(unsafe_code, reason = "no crate wraps these ioctls")]
pub fn set_subvolume_read_only(subvolume: impl AsFd, read_only: bool) -> Result<bool, Errno> {
    // SAFETY: BTRFS_IOC_SUBVOL_GETFLAGS writes one `__u64`. Other file systems answer ENOTTY.
    let flags: u64 = unsafe { ioctl(&subvolume, Getter::<GET_SUBVOLUME_FLAGS, u64>::new())? };
    if (flags & SUBVOLUME_READ_ONLY != 0) == read_only {
        return Ok(false);
    }
    // SAFETY: BTRFS_IOC_SUBVOL_SETFLAGS reads one `__u64`.
    unsafe {
        let flags = flags ^ SUBVOLUME_READ_ONLY;
        ioctl(&subvolume, Setter::<SET_SUBVOLUME_FLAGS, u64>::new(flags))?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structure_has_the_size_that_the_kernel_expects() {
        assert_eq!(size_of::<ExtendedFlags>(), 28);
        assert_eq!(GET_EXTENDED_FLAGS, 0x801c_581f);
        assert_eq!(SET_EXTENDED_FLAGS, 0x401c_5820);
        assert_eq!(GET_SUBVOLUME_FLAGS, 0x8008_9419);
        assert_eq!(SET_SUBVOLUME_FLAGS, 0x4008_941a);
    }

    #[test]
    fn a_folder_that_is_no_subvolume_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let opened = rustix::fs::open(
            folder.path(),
            rustix::fs::OFlags::RDONLY,
            rustix::fs::Mode::empty(),
        )
        .expect("a handle");
        let refused = set_subvolume_read_only(&opened, false);
        assert!(refused.is_err(), "{refused:?}");
    }
}
