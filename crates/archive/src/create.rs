//! From a directory to an archive: the public steps `scan` and `create`.

use std::collections::HashSet;
use std::io::Write;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Stat};

use crate::directory::Identity;
use crate::pack::Packer;
use crate::walk::{Place, Visitor, walk};
use crate::{Control, CreateOptions, Error, IgnoreRules, Summary, Totals, pipeline};

/// Counts what a backup of `source` would hold, and sets the totals of `control`.
///
/// # Errors
///
/// [`Error::SourceMissing`], [`Error::NotADirectory`], [`Error::Cancelled`], or [`Error::Io`] if the
/// source itself cannot be read. Anything below it that cannot be read is left out of the count.
pub fn scan(source: &Path, rules: &IgnoreRules, control: &Control) -> Result<Totals, Error> {
    let mut counter = Counter::default();
    walk(source, rules, control, &mut counter)?;
    control.set_totals(counter.totals.files, counter.totals.bytes);
    Ok(counter.totals)
}

/// Archives `source` as one gzip member of a POSIX tar, and writes its index beside it.
///
/// Same tree, same bytes, whatever the number of threads. Entries that cannot be read, change or vanish
/// while they are read end as [`Notes`](crate::Notes), not as errors. What was written when it fails is
/// no archive: the caller throws it away. Flushing is done, making it durable is the caller's.
///
/// # Errors
///
/// [`Error::SourceMissing`], [`Error::NotADirectory`], [`Error::Cancelled`], [`Error::TooLarge`] (bytes
/// of the archive), [`Error::Output`] if either writer fails, [`Error::Io`] if the source itself cannot
/// be read.
pub fn create(
    source: &Path,
    rules: &IgnoreRules,
    options: &CreateOptions,
    archive: impl Write + Send,
    index: impl Write + Send,
    control: &Control,
) -> Result<Summary, Error> {
    let (packed, written) = pipeline::run(options, archive, index, |sink| {
        let mut packer = Packer::new(options, control, sink);
        if let Some(reason) = rules.unused_list() {
            packer.note(b".pteroignore", format!("it was not used: {reason}"));
        }
        walk(source, rules, control, &mut packer)?;
        packer.finish()
    })?;
    Ok(Summary {
        sha256: written.sha256,
        archive_bytes: written.archive_bytes,
        source_bytes: packed.source_bytes,
        files: packed.files,
        entries: packed.entries,
        notes: packed.notes,
    })
}

#[derive(Default)]
struct Counter {
    totals: Totals,
    linked: HashSet<Identity>,
}

impl Visitor for Counter {
    fn folder(&mut self, _: &[u8], _: Option<BorrowedFd<'_>>, _: &Stat) -> Result<(), Error> {
        Ok(())
    }

    fn file(&mut self, place: &Place<'_>) -> Result<(), Error> {
        let found = rustix::fs::statat(place.folder, place.name, AtFlags::SYMLINK_NOFOLLOW);
        if let Ok(stat) = found {
            self.totals.files += 1;
            if stat.st_nlink <= 1 || self.linked.insert(Identity::from(&stat)) {
                self.totals.bytes += u64::try_from(stat.st_size).unwrap_or(0);
            }
        }
        Ok(())
    }

    fn symlink(&mut self, _: &Place<'_>) -> Result<(), Error> {
        Ok(())
    }

    fn note(&mut self, _: &[u8], _: String) {}
}
