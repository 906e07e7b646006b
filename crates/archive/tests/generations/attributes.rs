//! Random changes of modes, owners, times, access control lists and attributes of users.

use std::os::unix::fs::PermissionsExt as _;

use rustix::fs::XattrFlags;

use super::tree::Tree;
use crate::support::*;

const FILE_MODES: [u32; 7] = [0o644, 0o600, 0o755, 0o444, 0o4755, 0o2755, 0o666];
const FOLDER_MODES: [u32; 5] = [0o755, 0o700, 0o1777, 0o2750, 0o711];
/// Modes with which only root can still read an entry.
const LOCKED_MODES: [u32; 3] = [0, 0o111, 0o222];

impl Tree {
    pub(super) fn change_mode(&mut self) -> Option<String> {
        let path = self.pick(|found| !found.is_symlink())?;
        let is_folder = path.is_dir();
        let mode = if is_root() && self.random.one_in(4) {
            self.random.pick(&LOCKED_MODES)
        } else if is_folder {
            self.random.pick(&FOLDER_MODES)
        } else {
            self.random.pick(&FILE_MODES)
        };
        let mode = match (is_root(), is_folder) {
            (true, _) => mode,
            // The test itself must still read and change the entry.
            (false, true) => mode | 0o700,
            (false, false) => mode | 0o600,
        };
        set_mode(&path, mode);
        Some(format!("change the mode of {path:?} to {mode:o}"))
    }

    pub(super) fn change_owner(&mut self) -> Option<String> {
        if !is_root() {
            return None;
        }
        let path = self.pick(|_| true)?;
        let user = u32::try_from(self.random.below(4) * 1_000_000).unwrap();
        let group = u32::try_from(self.random.below(4) * 1_000).unwrap();
        std::os::unix::fs::lchown(&path, Some(user), Some(group)).unwrap();
        Some(format!("change the owner of {path:?} to {user}:{group}"))
    }

    /// Sets or removes an attribute of a user, or an access control list.
    pub(super) fn change_attribute(&mut self) -> Option<String> {
        let path = self.pick(|found| found.is_file() || found.is_dir())?;
        let mut value = vec![0; self.random.index(60)];
        value.fill_with(|| u8::try_from(self.random.below(256)).unwrap());
        let attribute = if self.random.one_in(3) {
            let found = fs_err::metadata(&path).unwrap();
            let rights = u16::try_from(self.random.below(8)).unwrap();
            value = access_list(found.permissions().mode(), rights);
            // Only a folder passes a list on.
            match found.is_dir() && self.random.one_in(2) {
                true => "system.posix_acl_default",
                false => "system.posix_acl_access",
            }
        } else {
            self.random.pick(&["user.a", "user.note"])
        };
        let changed = if self.random.one_in(3) {
            rustix::fs::removexattr(&path, attribute)
        } else {
            rustix::fs::setxattr(&path, attribute, &value, XattrFlags::empty())
        };
        // The disk may have none, and what is not set cannot be removed.
        changed.ok()?;
        Some(format!("change {attribute} of {path:?}"))
    }

    pub(super) fn set_a_time(&mut self) -> Option<String> {
        let path = self.pick(|_| true)?;
        self.set_time(&path);
        Some(format!("set the time of {path:?}"))
    }
}

/// Returns the binary form of an access control list: that of the mode, and the rights of user
/// 1234.
fn access_list(mode: u32, rights: u16) -> Vec<u8> {
    const NO_ID: u32 = u32::MAX;
    let class = |shift: u32| u16::try_from(mode >> shift & 7).unwrap();
    let entries = [
        (1_u16, class(6), NO_ID),
        (2, rights, 1234),
        (4, class(3), NO_ID),
        (0x10, class(3) | rights, NO_ID),
        (0x20, class(0), NO_ID),
    ];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        list.extend_from_slice(&tag.to_le_bytes());
        list.extend_from_slice(&rights.to_le_bytes());
        list.extend_from_slice(&id.to_le_bytes());
    }
    list
}
