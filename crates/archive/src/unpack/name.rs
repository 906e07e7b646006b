//! Names from an archive: only those that stay below the root are let through.

use crate::Error;

/// The parts of a name, from the root down.
pub(super) type Parts<'a> = Vec<&'a [u8]>;

/// The longest name, as long as the longest that is archived.
const LONGEST: usize = 1 << 20;

/// Splits a name; one of more than 1 MiB, a leading slash, `..` and NUL are refused, `.` and doubled slashes are dropped.
pub(super) fn parts(path: &[u8]) -> Result<Parts<'_>, Error> {
    if path.starts_with(b"/") {
        return Err(Error::hostile(path, "its name is absolute"));
    }
    if path.len() > LONGEST {
        return Err(Error::hostile(path, "its name is too long"));
    }
    if path.contains(&0) {
        return Err(Error::hostile(path, "its name holds a NUL byte"));
    }
    let mut parts = Vec::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(Error::hostile(path, "its name leaves the root")),
            part => parts.push(part),
        }
    }
    Ok(parts)
}
