//! The ignore list that a server carries in its own directory.

use std::io::Read;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::Error;

/// Largest list that is read, in bytes.
const LARGEST: u64 = 32 * 1024;

/// What the ignore list in a server directory says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pteroignore {
    /// Its lines without `\r`, blank ones dropped, comments kept; none without a list.
    pub lines: Vec<String>,
    /// Why it was not used although something of that name is there.
    pub unused: Option<String>,
}

impl Pteroignore {
    fn unused(reason: &str) -> Self {
        Self {
            lines: Vec::new(),
            unused: Some(reason.to_owned()),
        }
    }
}

/// Reads `.pteroignore` of a server directory.
///
/// A symlink is never followed, and more than 32 KiB are not read: such a list is unused, which
/// [`IgnoreRules::noting`](crate::Rules::noting) brings into the notes of the archive.
///
/// # Errors
///
/// [`Error::SourceMissing`], [`Error::NotADirectory`], or [`Error::Io`] if the file is there but
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
        // What a socket says.
        Err(Errno::NXIO) => return Ok(Pteroignore::unused("it is no regular file")),
        Err(error) => return Err(Error::io("open", &path, error)),
    };
    let stat = rustix::fs::fstat(&file).map_err(|error| Error::io("read", &path, error))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(Pteroignore::unused("it is no regular file"));
    }
    let mut text = Vec::new();
    std::fs::File::from(file)
        .take(LARGEST + 1)
        .read_to_end(&mut text)
        .map_err(|error| Error::io("read", &path, error))?;
    if text.len() as u64 > LARGEST {
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
        unused: None,
    })
}
