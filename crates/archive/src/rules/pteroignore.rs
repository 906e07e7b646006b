//! The ignore list that a server carries in its own directory.

use std::io::Read;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};

use crate::Error;

/// Largest list that is read, in bytes.
const LARGEST: u64 = 32 * 1024;

/// Reads `.pteroignore` of a server directory: its lines without `\r`, blank ones dropped, comments kept.
///
/// None if there is none, if it is no regular file (a symlink is never followed), or if it has more
/// than 32 KiB.
///
/// # Errors
///
/// [`Error::SourceMissing`], [`Error::NotADirectory`], or [`Error::Io`] if the file is there but
/// cannot be read.
pub fn read_pteroignore(source: &Path) -> Result<Option<Vec<String>>, Error> {
    let root = crate::directory::open_source(source)?;
    let path = source.join(".pteroignore");
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = match rustix::fs::openat(&root, ".pteroignore", flags, Mode::empty()) {
        Ok(file) => file,
        // A symlink says ELOOP, a socket ENXIO: neither is a list.
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::LOOP | rustix::io::Errno::NXIO) => {
            return Ok(None);
        }
        Err(error) => return Err(Error::io("open", &path, error)),
    };
    let stat = rustix::fs::fstat(&file).map_err(|error| Error::io("read", &path, error))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let mut text = Vec::new();
    std::fs::File::from(file)
        .take(LARGEST + 1)
        .read_to_end(&mut text)
        .map_err(|error| Error::io("read", &path, error))?;
    if text.len() as u64 > LARGEST {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&text);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let lines = text
        .split('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line));
    Ok(Some(
        lines
            .filter(|line| !line.trim().is_empty())
            .map(str::to_owned)
            .collect(),
    ))
}
