//! Reads mount tables: `/proc/…/mountinfo`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// A line of a mount table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount<'a> {
    pub(super) id: Option<u64>,
    /// The device: `major:minor`.
    pub(super) device: &'a [u8],
    /// What is mounted: a path in its file system.
    pub(super) root: PathBuf,
    /// Where it is mounted.
    pub(super) place: PathBuf,
}

/// Returns the mounts of a table. A line that cannot be read is left out.
pub(super) fn mounts(table: &[u8]) -> impl Iterator<Item = Mount<'_>> {
    table.split(|&byte| byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|&byte| byte == b' ');
        let id = fields.next().and_then(|id| std::str::from_utf8(id).ok());
        let _parent = fields.next();
        Some(Mount {
            id: id.and_then(|id| id.parse().ok()),
            device: fields.next()?,
            root: unescape(fields.next()?),
            place: unescape(fields.next()?),
        })
    })
}

/// Decodes a path, in which spaces and some other bytes are octal.
fn unescape(field: &[u8]) -> PathBuf {
    let mut path = Vec::new();
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| byte == b'\\');
        let code = code.and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(code) = code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            path.push(code);
            rest = &after[3..];
        } else {
            path.push(byte);
            rest = after;
        }
    }
    PathBuf::from(OsStr::from_bytes(&path))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn lines_are_read_with_escapes_and_bad_ones_are_left_out() {
        let table =
            b"36 35 98:0 /mnt\\0401 /with\\134back rw,noatime master:1 - ext3 /dev/root rw\n\
            cut 35 98:0\n\n37 36 0:5 / /proc\\xff rw - proc proc rw\n";
        let found: Vec<Mount<'_>> = mounts(table).collect();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].id, found[0].device), (Some(36), &b"98:0"[..]));
        assert_eq!(found[0].root, Path::new("/mnt 1"));
        assert_eq!(found[0].place, Path::new("/with\\back"));
        assert_eq!(found[1].place, Path::new("/proc\\xff"));
    }
}
