//! Reads `.pteroignore`, the ignore list in a server directory.

use std::io::Read;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::Error;

/// The largest list that is used, in bytes.
const MAX_LIST: u64 = 32 * 1024;

/// The contents of a `.pteroignore`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pteroignore {
    /// Its lines without `\r` and blank lines, comments included; empty if there is no list.
    pub lines: Vec<String>,
    /// Why it is not used, although an entry with this name exists.
    pub unused_reason: Option<String>,
}

impl Pteroignore {
    fn unused(reason: &str) -> Self {
        Self {
            lines: Vec::new(),
            unused_reason: Some(reason.to_owned()),
        }
    }
}

/// Reads the `.pteroignore` of a server directory.
///
/// A list that is a symlink or larger than 32 KiB is not used. Pass the reason to
/// [`IgnoreRules::with_unused_reason`](crate::IgnoreRules::with_unused_reason).
///
/// # Errors
///
/// [`Error::SourceMissing`], [`Error::NotADirectory`], or [`Error::Io`] if the file exists but
/// cannot be read.
pub fn read_pteroignore(source: &Path) -> Result<Pteroignore, Error> {
    let root = crate::directory::open_source(source)?;
    let path = source.join(".pteroignore");
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = match rustix::fs::openat(&root, ".pteroignore", flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(Pteroignore::default()),
        Err(Errno::LOOP) => return Ok(Pteroignore::unused("it is a symbolic link")),
        // Opening a socket.
        Err(Errno::NXIO) => return Ok(Pteroignore::unused("it is not a regular file")),
        Err(error) => return Err(Error::io("open", &path, error)),
    };
    let stat = rustix::fs::fstat(&file).map_err(|error| Error::io("read", &path, error))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(Pteroignore::unused("it is not a regular file"));
    }
    let mut text = Vec::new();
    std::fs::File::from(file)
        .take(MAX_LIST + 1)
        .read_to_end(&mut text)
        .map_err(|error| Error::io("read", &path, error))?;
    if text.len() as u64 > MAX_LIST {
        return Ok(Pteroignore::unused("it is larger than 32 KiB"));
    }
    let text = String::from_utf8_lossy(&text);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let lines = text
        .split('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .filter(|line| !line.trim().is_empty())
        .map(str::to_owned)
        .collect();
    Ok(Pteroignore {
        lines,
        unused_reason: None,
    })
}
