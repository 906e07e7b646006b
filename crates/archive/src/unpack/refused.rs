//! Attributes that the file system or the kernel does not accept: counted, not fatal.
//!
//! Root in a container may not change owners, a network share may forbid it, and a FUSE file system
//! may know no modes. A server is still better off with its files. The contents of files, links and
//! folders are never given up like this.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;

use crate::summary::Notes;

/// How often one kind of attribute was refused, and the first error.
#[derive(Default)]
pub(super) struct Counter {
    count: AtomicU64,
    first: OnceLock<Errno>,
}

impl Counter {
    /// Counts a refusal. Returns any other error. `Ok(false)` means that it was refused.
    pub(super) fn accept(&self, outcome: Result<(), Errno>) -> Result<bool, Errno> {
        match outcome {
            Ok(()) => Ok(true),
            Err(error) if is_refusal(error) => {
                self.add(error);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn add(&self, error: Errno) {
        self.count.fetch_add(1, Ordering::Relaxed);
        // Only the first one is shown.
        let _ = self.first.set(error);
    }

    /// Returns the count with its noun, and the first error.
    fn shown(&self, one: &str, many: &str) -> Option<(String, io::Error)> {
        let error = io::Error::from(*self.first.get()?);
        Some(match self.count.load(Ordering::Relaxed) {
            1 => (format!("1 {one}"), error),
            count => (format!("{count} {many}"), error),
        })
    }
}

/// The attributes that were refused while an archive was unpacked.
#[derive(Default)]
pub(super) struct Refused {
    pub(super) owners: Counter,
    pub(super) modes: Counter,
    pub(super) times: Counter,
    pub(super) acls: Counter,
    pub(super) xattrs: Counter,
    pub(super) links: Counter,
}

impl Refused {
    /// Adds one note for each kind of attribute.
    pub(super) fn add_notes(&self, notes: &mut Notes) {
        let mut add = |counter: &Counter, (one, many), text: &str| {
            if let Some((count, error)) = counter.shown(one, many) {
                notes.add(b".", format!("{count} {text}: {error}"));
            }
        };
        let entries = ("entry", "entries");
        let text = "could not be given to their owner and belong to the user of this process";
        add(&self.owners, entries, text);
        add(&self.modes, entries, "could not get their mode");
        add(&self.times, entries, "could not get their times");
        let text = "could not be set in full; the group has the rights that its own entry gives";
        add(
            &self.acls,
            ("access control list", "access control lists"),
            text,
        );
        let xattrs = ("extended attribute", "extended attributes");
        add(&self.xattrs, xattrs, "could not be set");
        let links = ("hard link", "hard links");
        add(&self.links, links, "could not be made and are copies now");
    }
}

/// Returns whether an error means that this attribute is not accepted here.
fn is_refusal(error: Errno) -> bool {
    matches!(
        error,
        Errno::PERM
            | Errno::ACCESS
            | Errno::INVAL
            | Errno::NOSYS
            | Errno::OPNOTSUPP
            | Errno::OVERFLOW
            | Errno::NOTTY
    )
}

/// Returns whether a list or an extended attribute is not accepted: also because it is too large.
pub(super) fn is_too_large(error: Errno) -> bool {
    matches!(
        error,
        Errno::NOSPC | Errno::TOOBIG | Errno::RANGE | Errno::NAMETOOLONG
    )
}
