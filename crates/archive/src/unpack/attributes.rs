//! The attributes of an entry, and how they are set.

use std::os::fd::BorrowedFd;

use rustix::fs::{Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::Errno;

use super::refused::{Refused, is_too_large};
use crate::acl::{self, Acls};
use crate::tar_format::{EntryKind, TarEntry, Time, Xattrs};

/// Which attributes of the archive are restored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttributePolicy {
    /// Whether entries get the owners that the archive states.
    pub(crate) apply_owner: bool,
    /// The owner of every entry otherwise; `None` leaves the owner of the process.
    pub(crate) default_owner: Option<(Uid, Gid)>,
    /// Whether setuid and setgid bits of files are restored.
    pub(crate) special_modes: bool,
}

/// The attributes of an entry that are restored.
#[derive(Debug, Clone)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    pub(super) owner: Option<(Uid, Gid)>,
    /// `None` leaves the time as it is.
    pub(super) mtime: Option<Time>,
    pub(super) acls: Acls,
    pub(super) xattrs: Xattrs,
    pub(super) is_folder: bool,
}

impl Attributes {
    pub(super) fn from_entry(entry: &TarEntry, policy: AttributePolicy) -> Self {
        let is_folder = entry.kind == EntryKind::Directory;
        let mask = match (policy.special_modes, is_folder) {
            (true, _) => 0o7777,
            // Setgid and sticky bits of folders give nobody a right.
            (false, true) => 0o3777,
            (false, false) => 0o777,
        };
        // Ignores numbers that are out of range, or that mean "no change" to `chown`.
        let number = |id: u64| u32::try_from(id).ok().filter(|&id| id != u32::MAX);
        let archived = number(entry.uid).zip(number(entry.gid));
        let archived = archived.map(|(uid, gid)| (Uid::from_raw(uid), Gid::from_raw(gid)));
        let owner = if policy.apply_owner {
            archived
        } else {
            policy.default_owner
        };
        // Other attributes could give rights, such as `security.capability`.
        let wanted = entry
            .xattrs
            .iter()
            .filter(|(name, _)| name.starts_with(b"user."));
        let mut acls = entry.acls.clone();
        if !is_folder {
            acls.default = None;
        }
        Self {
            mode: entry.mode & mask,
            owner,
            mtime: Some(entry.mtime),
            acls,
            xattrs: wanted.cloned().collect(),
            is_folder,
        }
    }

    /// Returns the attributes of a folder that has no entry.
    pub(super) fn of_implicit_folder(policy: AttributePolicy) -> Self {
        Self {
            mode: 0o755,
            owner: policy.default_owner,
            mtime: None,
            acls: Acls::default(),
            xattrs: Xattrs::new(),
            is_folder: true,
        }
    }

    /// Sets all attributes of an open file or folder; the times last, because the rest changes
    /// them. What the file system does not accept is counted.
    pub(super) fn apply(
        &self,
        file: BorrowedFd<'_>,
        mode_is_set: bool,
        refused: &Refused,
    ) -> Result<(), Errno> {
        let mut mode = self.mode;
        if let Some((uid, gid)) = self.owner {
            let owned = rustix::fs::fchown(file, Some(uid), Some(gid));
            if !refused.owners.accept(owned)? && !self.is_folder {
                // The bits would give the rights of the wrong user.
                mode &= 0o777;
            }
        }
        if let Some(list) = &self.acls.access {
            // Until the list is set, the group must not get the rights of its mask.
            mode = mode & !0o070 | list.group_bits();
        }
        if !mode_is_set {
            let set = rustix::fs::fchmod(file, Mode::from_raw_mode(mode));
            refused.modes.accept(set)?;
        }
        for (list, name) in [
            (&self.acls.access, acl::ACCESS),
            (&self.acls.default, acl::DEFAULT),
        ] {
            if let Some(list) = list {
                match list.set(file, name) {
                    Err(error) if is_too_large(error) => refused.acls.add(error),
                    set => drop(refused.acls.accept(set)?),
                }
            }
        }
        for (name, value) in &self.xattrs {
            let set = rustix::fs::fsetxattr(file, name.as_slice(), value, XattrFlags::empty());
            match set {
                Err(error) if is_too_large(error) => refused.xattrs.add(error),
                set => drop(refused.xattrs.accept(set)?),
            }
        }
        refused
            .times
            .accept(rustix::fs::futimens(file, &self.times()))
            .map(drop)
    }

    pub(super) fn times(&self) -> Timestamps {
        let time = self.mtime.map_or(
            Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT,
            },
            |time| Timespec {
                tv_sec: time.seconds,
                tv_nsec: i64::from(time.nanoseconds),
            },
        );
        Timestamps {
            last_access: time,
            last_modification: time,
        }
    }
}
