//! Reads `.pteroignore` or `.pelicanignore`, the ignore list in a server directory.
//!
//! The owner of the server writes this list, so nothing in it may fail a backup. What cannot be
//! used is left out, with a note that names it.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::pattern::Pattern;
use super::{MAX_PATTERNS, shorten};
use crate::lease::LeaseWait;
use crate::{Error, Note};

/// The names of the list. The first one that exists is used.
const NAMES: [&str; 2] = [".pteroignore", ".pelicanignore"];
/// The largest list that is used, in bytes.
const MAX_LIST: u64 = 32 * 1024;
/// How long another process may take to give up a lease on the list.
const LEASE_WAIT: Duration = Duration::from_secs(5);
/// How many unusable lines get a note of their own.
const MAX_LINE_NOTES: usize = 20;

/// The contents of a `.pteroignore`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pteroignore {
    /// The lines that can be used, comments included, without `\r` and blank lines; empty if there
    /// is no list.
    pub lines: Vec<String>,
    /// What cannot be used: the list as a whole, or single lines.
    pub notes: Vec<Note>,
}

/// Reads the `.pteroignore` of a server directory, or its `.pelicanignore` if it has no
/// `.pteroignore`.
///
/// A list that is a symlink, larger than 32 KiB or may not be read is not used. A line that is no
/// valid pattern is left out, and so are those after the 256th pattern. Pass the notes about this
/// to [`IgnoreRules::with_notes`](crate::IgnoreRules::with_notes).
///
/// # Errors
///
/// [`Error::SourceMissing`], [`Error::NotADirectory`], or [`Error::Io`] if reading fails.
pub fn read_pteroignore(source: &Path) -> Result<Pteroignore, Error> {
    let root = crate::directory::open_source(source)?;
    let mut leases = LeaseWait::new(LEASE_WAIT);
    for name in NAMES {
        let unused = |reason: &str| Pteroignore {
            lines: Vec::new(),
            notes: vec![note(name, format!("it was not used: {reason}"))],
        };
        let file = match leases.open(root.as_fd(), name.as_bytes(), None) {
            Ok(file) => file,
            Err(Errno::NOENT) => continue,
            Err(Errno::LOOP) => return Ok(unused("it is a symbolic link")),
            // Opening a socket, or a device without a driver.
            Err(Errno::NXIO | Errno::NODEV) => return Ok(unused("it is not a regular file")),
            Err(Errno::AGAIN) => return Ok(unused("another process has a lease on it")),
            Err(Errno::ACCESS | Errno::PERM) => return Ok(unused("it may not be read")),
            Err(error) => return Err(Error::io("open", &source.join(name), error)),
        };
        return match read_list(file) {
            Ok(Ok(text)) => Ok(parse(name, &text)),
            Ok(Err(reason)) => Ok(unused(reason)),
            Err(error) => Err(Error::io("read", &source.join(name), error)),
        };
    }
    Ok(Pteroignore::default())
}

/// Reads a list. The inner error is the reason why it is not used.
fn read_list(file: OwnedFd) -> Result<Result<Vec<u8>, &'static str>, std::io::Error> {
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(Err("it is not a regular file"));
    }
    let mut text = Vec::new();
    std::fs::File::from(file)
        .take(MAX_LIST + 1)
        .read_to_end(&mut text)?;
    if text.len() as u64 > MAX_LIST {
        return Ok(Err("it is larger than 32 KiB"));
    }
    Ok(Ok(text))
}

/// Splits a list into lines, and leaves out those that cannot be used.
fn parse(name: &str, text: &[u8]) -> Pteroignore {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let mut list = Pteroignore::default();
    let mut patterns = 0;
    let mut unusable = 0;
    for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let shown = String::from_utf8_lossy(line);
        if shown.trim().is_empty() {
            continue;
        }
        if line.starts_with(b"#") {
            // A comment is only shown. The database cannot store a NUL.
            list.lines.push(shown.replace('\0', "\u{fffd}"));
            continue;
        }
        let reason = match std::str::from_utf8(line).map(Pattern::parse) {
            Ok(Ok(_)) if patterns < MAX_PATTERNS => {
                patterns += 1;
                list.lines.push(shown.into_owned());
                continue;
            }
            Ok(Ok(_)) => format!("there are more than {MAX_PATTERNS} patterns"),
            Ok(Err(reason)) => reason,
            Err(_) => "it is not UTF-8".to_owned(),
        };
        unusable += 1;
        if unusable <= MAX_LINE_NOTES {
            let shown = shorten(&shown);
            let reason = format!("line {number} was left out: {reason}: {shown:?}");
            list.notes.push(note(name, reason));
        }
    }
    if unusable > MAX_LINE_NOTES {
        let more = unusable - MAX_LINE_NOTES;
        let reason = format!("{more} more lines were left out for reasons such as these");
        list.notes.push(note(name, reason));
    }
    list
}

fn note(path: &str, reason: String) -> Note {
    Note {
        path: path.to_owned(),
        reason,
    }
}
