//! Checks names of an archive: only names below the root are accepted.

use crate::Error;

/// The longest name, in bytes; the same as the limit for archiving.
const MAX_NAME: usize = 1 << 20;

/// Splits a name into its parts, from the root down. Drops `.` and repeated slashes.
///
/// Refuses names longer than 1 MiB, and names with a leading slash, `..` or NUL.
pub(super) fn split_name(path: &[u8]) -> Result<Vec<&[u8]>, Error> {
    if path.starts_with(b"/") {
        return Err(Error::hostile(path, "its name is absolute"));
    }
    if path.len() > MAX_NAME {
        return Err(Error::hostile(path, "its name is too long"));
    }
    if path.contains(&0) {
        return Err(Error::hostile(path, "its name holds a NUL byte"));
    }
    let mut parts = Vec::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(Error::hostile(path, "its name contains `..`")),
            part => parts.push(part),
        }
    }
    Ok(parts)
}
