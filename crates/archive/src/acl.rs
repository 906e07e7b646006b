//! POSIX access control lists: the kernel's binary form, and the text form that tar programs share.
//!
//! With a list, the group bits of a file's mode are the mask of the list, not the rights of the
//! group. So a mode must never be restored without its list: the group could get rights that only
//! single users had.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::OnceLock;

use rustix::buffer::spare_capacity;
use rustix::fs::XattrFlags;
use rustix::io::Errno;

/// The attribute that holds the list of a file or folder.
pub(crate) const ACCESS: &str = "system.posix_acl_access";
/// The attribute that holds the list that new entries of a folder inherit.
pub(crate) const DEFAULT: &str = "system.posix_acl_default";

/// The version of the binary form.
const VERSION: u32 = 2;
/// The ID of an entry that names nobody.
const NO_ID: u32 = u32::MAX;
/// The most entries that an attribute of 64 KiB holds.
const MAX_ENTRIES: usize = 8191;

const USER_OWNER: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OWNER: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// One entry of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct AclEntry {
    tag: u16,
    /// Read 4, write 2, execute 1.
    rights: u16,
    id: u32,
}

/// An access control list. A list that cannot be read has no entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Acl {
    entries: Vec<AclEntry>,
    /// Whether entries for users or groups without a number are missing.
    is_partial: bool,
}

/// The lists of a file or folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Acls {
    pub(crate) access: Option<Acl>,
    pub(crate) default: Option<Acl>,
}

impl Acls {
    pub(crate) fn is_empty(&self) -> bool {
        self.access.is_none() && self.default.is_none()
    }
}

impl Acl {
    /// Decodes the binary form. An invalid one gives a list without entries.
    pub(crate) fn from_binary(bytes: &[u8]) -> Self {
        let Some((version, rest)) = bytes.split_first_chunk::<4>() else {
            return Self::default();
        };
        if u32::from_le_bytes(*version) != VERSION || !rest.len().is_multiple_of(8) {
            return Self::default();
        }
        let entries = rest.chunks_exact(8).map(|entry| AclEntry {
            tag: u16::from_le_bytes([entry[0], entry[1]]),
            rights: u16::from_le_bytes([entry[2], entry[3]]) & 7,
            id: u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]),
        });
        Self::checked(entries.collect(), false)
    }

    /// Encodes the binary form.
    pub(crate) fn to_binary(&self) -> Vec<u8> {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        for entry in &self.entries {
            bytes.extend_from_slice(&entry.tag.to_le_bytes());
            bytes.extend_from_slice(&entry.rights.to_le_bytes());
            bytes.extend_from_slice(&entry.id.to_le_bytes());
        }
        bytes
    }

    /// Parses the text form of GNU tar, bsdtar and star: entries such as `user:1001:rw-`, separated
    /// by commas or line breaks, with the number of a name as an optional fourth field.
    pub(crate) fn from_text(text: &[u8]) -> Self {
        let Ok(text) = std::str::from_utf8(text) else {
            return Self::default();
        };
        let (mut entries, mut is_partial) = (Vec::new(), false);
        for line in text.split([',', '\n']) {
            let line = line.split(['#', '\t']).next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            match parse_entry(line) {
                Some(Some(entry)) if entries.len() < MAX_ENTRIES => entries.push(entry),
                Some(None) => is_partial = true,
                _ => return Self::default(),
            }
        }
        Self::checked(entries, is_partial)
    }

    /// Formats the text form, with numbers instead of names.
    pub(crate) fn to_text(&self) -> String {
        let entries = self.entries.iter().map(|entry| {
            let kind = match entry.tag {
                USER_OWNER | USER => "user",
                GROUP_OWNER | GROUP => "group",
                MASK => "mask",
                _ => "other",
            };
            let id = match entry.tag {
                USER | GROUP => entry.id.to_string(),
                _ => String::new(),
            };
            let right = |bit: u16, letter| if entry.rights & bit == 0 { '-' } else { letter };
            let rights = [right(4, 'r'), right(2, 'w'), right(1, 'x')];
            format!("{kind}:{id}:{}", rights.iter().collect::<String>())
        });
        entries.collect::<Vec<_>>().join(",")
    }

    /// Returns the rights of the file's own group, as the group bits of a mode.
    pub(crate) fn group_bits(&self) -> u32 {
        let own = self.entries.iter().find(|entry| entry.tag == GROUP_OWNER);
        own.map_or(0, |entry| u32::from(entry.rights) << 3)
    }

    /// Sorts the entries as the kernel wants them, and checks that they make a list.
    fn checked(mut entries: Vec<AclEntry>, is_partial: bool) -> Self {
        entries.sort_by_key(|entry| (entry.tag, entry.id));
        let count = |tag| entries.iter().filter(|entry| entry.tag == tag).count();
        let known = USER_OWNER | USER | GROUP_OWNER | GROUP | MASK | OTHER;
        let is_list = [USER_OWNER, GROUP_OWNER, OTHER].map(count) == [1, 1, 1]
            && count(MASK) <= 1
            && entries.len() < MAX_ENTRIES
            && entries
                .iter()
                .all(|entry| entry.tag & known == entry.tag && entry.tag.count_ones() == 1)
            && entries
                .windows(2)
                .all(|pair| (pair[0].tag, pair[0].id) != (pair[1].tag, pair[1].id));
        if !is_list {
            return Self::default();
        }
        if count(MASK) == 0 && count(USER) + count(GROUP) > 0 {
            let class = USER | GROUP_OWNER | GROUP;
            let grouped = entries.iter().filter(|entry| entry.tag & class != 0);
            let rights = grouped.fold(0, |rights, entry| rights | entry.rights);
            let before_other = entries.len() - 1;
            let mask = AclEntry {
                tag: MASK,
                rights,
                id: NO_ID,
            };
            entries.insert(before_other, mask);
        }
        Self {
            entries,
            is_partial,
        }
    }

    /// Sets the list as an attribute of a file. A list that cannot be read is [`Errno::INVAL`].
    pub(crate) fn set(&self, file: BorrowedFd<'_>, attribute: &str) -> Result<(), Errno> {
        if self.entries.is_empty() {
            return Err(Errno::INVAL);
        }
        rustix::fs::fsetxattr(file, attribute, &self.to_binary(), XattrFlags::empty())?;
        // What could be set is set, but the caller must know that entries are missing.
        if self.is_partial {
            Err(Errno::INVAL)
        } else {
            Ok(())
        }
    }
}

/// Parses an entry; `None` if it is malformed, `Some(None)` if it names somebody without a number.
fn parse_entry(text: &str) -> Option<Option<AclEntry>> {
    let mut fields = text.split(':').map(str::trim);
    let mut kind = fields.next()?;
    if matches!(kind, "default" | "d") {
        kind = fields.next()?;
    }
    let mut second = fields.next()?;
    let third = fields.next();
    let fourth = fields.next();
    // `mask:rwx` and `other:rwx` are short for `mask::rwx` and `other::rwx`.
    let rights = match third {
        Some(third) => third,
        None if matches!(kind, "mask" | "m" | "other" | "o") => std::mem::take(&mut second),
        None => return None,
    };
    let rights = parse_rights(rights)?;
    let tag = match (kind, second.is_empty()) {
        ("user" | "u", true) => USER_OWNER,
        ("user" | "u", false) => USER,
        ("group" | "g", true) => GROUP_OWNER,
        ("group" | "g", false) => GROUP,
        ("mask" | "m", true) => MASK,
        ("other" | "o", true) => OTHER,
        _ => return None,
    };
    let id = match tag {
        USER | GROUP => {
            let number = |text: &str| text.parse().ok().filter(|&id: &u32| id != NO_ID);
            let known = || local_names(tag).get(second).copied();
            match number(second)
                .or_else(|| fourth.and_then(number))
                .or_else(known)
            {
                Some(id) => id,
                None => return Some(None),
            }
        }
        _ => NO_ID,
    };
    Some(Some(AclEntry { tag, rights, id }))
}

/// Returns the users or groups of this machine, by name. GNU tar and bsdtar write names by default.
fn local_names(tag: u16) -> &'static HashMap<String, u32> {
    static USERS: OnceLock<HashMap<String, u32>> = OnceLock::new();
    static GROUPS: OnceLock<HashMap<String, u32>> = OnceLock::new();
    let read = |path| {
        let text = fs_err::read_to_string(path).unwrap_or_default();
        let entries = text.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?.to_owned();
            Some((name, fields.nth(1)?.parse().ok()?))
        });
        entries.collect()
    };
    match tag {
        USER => USERS.get_or_init(|| read("/etc/passwd")),
        _ => GROUPS.get_or_init(|| read("/etc/group")),
    }
}

fn parse_rights(text: &str) -> Option<u16> {
    text.chars().try_fold(0, |rights, letter| match letter {
        'r' => Some(rights | 4),
        'w' => Some(rights | 2),
        'x' => Some(rights | 1),
        '-' => Some(rights),
        _ => None,
    })
}

/// Removes the lists that a new folder has inherited, so that its entries inherit none.
pub(crate) fn remove_inherited(folder: BorrowedFd<'_>) -> Result<(), Errno> {
    for attribute in [DEFAULT, ACCESS] {
        if matches!(read(folder, attribute), Ok(Some(_))) {
            rustix::fs::fremovexattr(folder, attribute)?;
        }
    }
    Ok(())
}

/// Reads a list of an open file; `None` if it has none.
pub(crate) fn read(file: BorrowedFd<'_>, attribute: &str) -> Result<Option<Acl>, Errno> {
    let found = read_bytes(|bytes| rustix::fs::fgetxattr(file, attribute, spare_capacity(bytes)));
    let found = match found {
        // A handle that only names the folder has no attributes, but a path to it does.
        Err(Errno::BADF) => {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            read_bytes(|bytes| {
                rustix::fs::getxattr(path.as_str(), attribute, spare_capacity(bytes))
            })
        }
        other => other,
    };
    match found {
        Ok(value) => Ok(Some(Acl::from_binary(&value))),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS | Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads bytes of a length that is unknown. The system takes longer for a large buffer, so a small
/// one is tried first.
pub(crate) fn read_bytes(
    mut read: impl FnMut(&mut Vec<u8>) -> Result<usize, Errno>,
) -> Result<Vec<u8>, Errno> {
    const SMALL: usize = 256;
    /// The most bytes that Linux gives.
    const LARGEST: usize = 64 << 10;
    let mut bytes = Vec::with_capacity(SMALL);
    match read(&mut bytes) {
        Err(Errno::RANGE) => {
            bytes = Vec::with_capacity(LARGEST);
            read(&mut bytes).map(|_| bytes)
        }
        other => other.map(|_| bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "user::rw-,user:1001:rw-,group::r--,mask::rw-,other::r--";

    #[test]
    fn the_text_of_every_tar_program_gives_the_same_list() {
        let list = Acl::from_text(TEXT.as_bytes());
        assert_eq!(list.to_text(), TEXT);
        assert_eq!(list.group_bits(), 0o040);
        for text in [
            "user::rw-\nuser:1001:rw-\ngroup::r--\nmask::rw-\nother::r--\n",
            "user::rw-,user:steve:rw-:1001,group::r--,mask::rw-,other::r--",
            "u::rw-,g::r--,o:r--,m:rw-,u:1001:rw-\t#effective:rw-",
            "default:user::rw-,default:user:1001:rw-,default:group::r--,default:mask::rw-,\
             default:other::r--",
            "user::rw-,user:1001:rw-,group::r--,other::r--",
        ] {
            assert_eq!(Acl::from_text(text.as_bytes()), list, "{text}");
        }
        assert_eq!(Acl::from_binary(&list.to_binary()), list);
    }

    #[test]
    fn unknown_names_are_left_out_and_malformed_lists_have_no_entries() {
        let named = "user::rw-,user:root:rwx,group::r--,group:root:r--,mask::rwx,other::---";
        let numbered = "user::rw-,user:0:rwx,group::r--,group:0:r--,mask::rwx,other::---";
        assert_eq!(Acl::from_text(named.as_bytes()).to_text(), numbered);
        let text = "user::rw-,user:no-such-user:rwx,group::r--,mask::rwx,other::---";
        let list = Acl::from_text(text.as_bytes());
        assert!(list.is_partial);
        assert_eq!(list.to_text(), "user::rw-,group::r--,mask::rwx,other::---");
        for text in [
            "",
            "user::rw-",
            "user::rw-,user::rw-,group::r--,other::r--",
            "user::rw-,group::r--,other::r--,mask:7:rwx",
            "user::rwz,group::r--,other::r--",
            "user::rw-,user:1:r--,user:1:rw-,group::r--,mask::rw-,other::r--",
            "\u{fffd}",
        ] {
            assert_eq!(Acl::from_text(text.as_bytes()), Acl::default(), "{text}");
        }
        for bytes in [
            &b""[..],
            b"\x01\0\0\0",
            b"\x02\0\0\0",
            b"\x02\0\0\0\x01\0\x07",
        ] {
            assert_eq!(Acl::from_binary(bytes), Acl::default());
        }
        assert_eq!(Acl::default().group_bits(), 0);
    }
}
