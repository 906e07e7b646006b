//! What the extended headers before an entry state about it.

use std::io;

use super::pax::{self, invalid};
use super::{MAX_SEGMENTS, Time, Xattrs};
use crate::acl::{self, Acl, Acls};

/// The most extended attributes of an entry, and their bytes. An entry can have any number of
/// extended headers, and all of them take memory.
const MAX_XATTRS: usize = 1000;
const MAX_XATTR_BYTES: usize = 4 << 20;

/// What extended headers state about the next entry.
#[derive(Default)]
pub(super) struct Extension {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) mtime: Option<Time>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) size: Option<u64>,
    pub(super) acls: Acls,
    pub(super) xattrs: Xattrs,
    pub(super) sparse_major: Option<u64>,
    pub(super) sparse_name: Option<Vec<u8>>,
    pub(super) sparse_size: Option<u64>,
    /// Offsets and lengths in turn.
    pub(super) sparse_numbers: Option<Vec<u64>>,
    /// Whether it is the rest of a file that starts in another volume.
    pub(super) is_continued: bool,
}

impl Extension {
    /// Reads a record for all later entries. Only one is used, but all must be well-formed.
    pub(super) fn set_global(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        if key == b"GNU.volume.offset" {
            self.is_continued = pax::parse_number(value)? > 0;
        }
        Ok(())
    }

    pub(super) fn set(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"mtime" => self.mtime = Some(pax::parse_time(value)?),
            b"uid" => self.uid = Some(pax::parse_number(value)?),
            b"gid" => self.gid = Some(pax::parse_number(value)?),
            b"size" => self.size = Some(pax::parse_number(value)?),
            b"GNU.sparse.major" => self.sparse_major = Some(pax::parse_number(value)?),
            b"GNU.sparse.name" => self.sparse_name = Some(value.to_vec()),
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => {
                self.sparse_size = Some(pax::parse_number(value)?);
            }
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                let numbers = self.sparse_numbers.get_or_insert_default();
                if numbers.len() >= 2 * MAX_SEGMENTS {
                    return Err(invalid("the map of a sparse file is too long"));
                }
                numbers.push(pax::parse_number(value)?);
            }
            b"GNU.sparse.map" => {
                let numbers = value
                    .split(|&byte| byte == b',')
                    .filter(|part| !part.is_empty());
                let numbers: io::Result<Vec<u64>> = numbers.map(pax::parse_number).collect();
                self.sparse_numbers = Some(numbers?);
            }
            b"SCHILY.acl.access" => set_list(&mut self.acls.access, value, Acl::from_text),
            b"SCHILY.acl.default" => set_list(&mut self.acls.default, value, Acl::from_text),
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.add_xattr(name.to_vec(), value.to_vec())?;
                } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.")
                    && let (Some(name), Some(value)) = (decode_percent(name), decode_base64(value))
                {
                    self.add_xattr(name, value)?;
                }
            }
        }
        Ok(())
    }

    /// Adds an extended attribute. A list as text, if there is one, counts before its attribute.
    fn add_xattr(&mut self, name: Vec<u8>, value: Vec<u8>) -> io::Result<()> {
        let list = match &name {
            name if name == acl::ACCESS.as_bytes() => &mut self.acls.access,
            name if name == acl::DEFAULT.as_bytes() => &mut self.acls.default,
            _ => {
                // bsdtar writes each attribute in two forms.
                self.xattrs.retain(|(other, _)| *other != name);
                self.xattrs.push((name, value));
                let sizes = self
                    .xattrs
                    .iter()
                    .map(|(name, value)| name.len() + value.len());
                if self.xattrs.len() > MAX_XATTRS || sizes.sum::<usize>() > MAX_XATTR_BYTES {
                    return Err(invalid("an entry has too many extended attributes"));
                }
                return Ok(());
            }
        };
        list.get_or_insert_with(|| Acl::from_binary(&value));
        Ok(())
    }
}

/// Sets a list; an empty record removes it.
fn set_list(list: &mut Option<Acl>, value: &[u8], parse: impl FnOnce(&[u8]) -> Acl) {
    *list = (!value.is_empty()).then(|| parse(value));
}

/// Decodes a name in which bsdtar has replaced some bytes, such as `%20`.
fn decode_percent(name: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            decoded.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            decoded.push(byte);
            rest = after;
        }
    }
    Some(decoded)
}

/// Decodes base64, with or without padding.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for &byte in text.trim_ascii_end().split(|&byte| byte == b'=').next()? {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            decoded.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_in_the_form_of_bsdtar_are_decoded() {
        let mut extension = Extension::default();
        extension
            .set(b"LIBARCHIVE.xattr.user.a%20b", b"Ymx1ZQAKPQ")
            .expect("a record");
        extension
            .set(b"SCHILY.xattr.user.a b", b"blue\0\n=")
            .expect("a record");
        assert_eq!(
            extension.xattrs,
            [(b"user.a b".to_vec(), b"blue\0\n=".to_vec())]
        );
        extension
            .set(b"LIBARCHIVE.xattr.user.bad", b"*")
            .expect("a record");
        assert_eq!(extension.xattrs.len(), 1);
        assert_eq!(decode_base64(b"AP8="), Some(vec![0, 255]));
    }

    #[test]
    fn the_memory_of_one_entry_is_bounded_whatever_its_headers_hold() {
        let mut extension = Extension::default();
        let error = (0..2000)
            .try_for_each(|number| {
                let key = format!("SCHILY.xattr.user.{number}");
                extension.set(key.as_bytes(), b"x")
            })
            .expect_err("too many");
        assert_eq!(
            error.to_string(),
            "an entry has too many extended attributes"
        );
        let mut extension = Extension::default();
        let value = vec![0; 3 << 20];
        extension.set(b"SCHILY.xattr.user.a", &value).expect("room");
        extension
            .set(b"SCHILY.xattr.user.a", &value)
            .expect("the same again");
        assert!(extension.set(b"SCHILY.xattr.user.b", &value).is_err());
        let mut extension = Extension::default();
        let error = (0..3 * MAX_SEGMENTS)
            .try_for_each(|_| extension.set(b"GNU.sparse.offset", b"0"))
            .expect_err("too many");
        assert_eq!(error.to_string(), "the map of a sparse file is too long");
    }

    #[test]
    fn a_list_as_text_counts_before_the_attribute() {
        let text = b"user::rw-,user:7:rw-,group::r--,mask::rw-,other::r--";
        let other = Acl::from_text(b"user::rwx,group::rwx,other::rwx").to_binary();
        for text_first in [true, false] {
            let mut extension = Extension::default();
            let mut records = [
                (&b"SCHILY.acl.access"[..], &text[..]),
                (b"SCHILY.xattr.system.posix_acl_access", &other),
            ];
            if !text_first {
                records.reverse();
            }
            for (key, value) in records {
                extension.set(key, value).expect("a record");
            }
            assert_eq!(extension.acls.access, Some(Acl::from_text(text)));
            assert!(extension.xattrs.is_empty());
        }
    }
}
