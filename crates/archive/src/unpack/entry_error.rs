//! Maps system errors to errors of the entry that is being unpacked.

use std::path::Path;

use rustix::io::Errno;

use crate::Error;
use crate::error::lossy;

/// Returns [`Error::Hostile`] if the archive asks for something impossible, or [`Error::Io`] if the
/// disk fails.
pub(super) fn entry_error(path: &[u8], error: Errno) -> Error {
    match error {
        Errno::EXIST => Error::hostile(path, "it is in the archive twice"),
        Errno::NAMETOOLONG => Error::hostile(path, "a part of its name is too long"),
        Errno::NOTDIR | Errno::LOOP => Error::hostile(path, "its parent is not a folder"),
        Errno::INVAL | Errno::NOENT => {
            Error::hostile(path, "the file system does not accept its name")
        }
        _ => Error::io("unpack", Path::new(&lossy(path)), error),
    }
}
