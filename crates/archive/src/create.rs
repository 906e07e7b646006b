//! Creates archives: the public functions `scan` and `create`.

use std::collections::HashSet;
use std::io::Write;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Stat};

use crate::directory::Identity;
use crate::pace::Pace;
use crate::pack::{OutsideLinks, Packer};
use crate::walk::{Visitor, WalkEntry, walk};
use crate::{Control, CreateOptions, Error, IgnoreRules, Summary, Totals, pipeline};

/// Counts the files that an archive of `source` would hold, and sets the totals of `control`.
///
/// Entries below `source` that cannot be read are not counted.
///
/// # Errors
///
/// [`Error::SourceMissing`], [`Error::NotADirectory`], [`Error::Cancelled`], or [`Error::Io`] if
/// `source` itself cannot be read.
pub fn scan(source: &Path, rules: &IgnoreRules, control: &Control) -> Result<Totals, Error> {
    let mut counter = Counter {
        totals: Totals::default(),
        linked: HashSet::new(),
        control,
        pace: Pace::new(),
    };
    walk(source, rules, control, &mut counter)?;
    control.set_totals(counter.totals.files, counter.totals.bytes);
    Ok(counter.totals)
}

/// Archives `source` as a POSIX tar in one gzip member, and writes its index.
///
/// The same tree always gives the same bytes, with any number of threads. Entries that cannot be
/// read, or that change or vanish while they are read, become [`Notes`](crate::Notes), not errors.
/// So do symlinks that leave `source`. A reason that lies outside of the entry, such as a lack of
/// file descriptors or a failing disk, is an error. Both writers are flushed; the caller must make
/// the files durable, and delete them after an error.
///
/// # Errors
///
/// [`Error::SourceMissing`], [`Error::NotADirectory`], [`Error::Cancelled`], [`Error::TooLarge`]
/// (bytes of the archive), [`Error::Output`] if a writer fails, [`Error::NoAccess`] or
/// [`Error::Io`] if `source` itself cannot be read, [`Error::Io`] if the system fails.
///
/// # Examples
///
/// ```
/// use holdfast_archive::{Control, CreateOptions, IgnoreRules, create, verify};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let source = folder.path().join("server");
/// # fs_err::create_dir(&source)?;
/// # fs_err::write(source.join("world.dat"), "blocks")?;
/// # fs_err::write(source.join("latest.log"), "lines")?;
/// # let archive_path = folder.path().join("backup.tar.gz");
/// let rules = IgnoreRules::new(&["*.log".to_owned()])?;
/// let archive = fs_err::File::create_new(&archive_path)?;
/// let index = fs_err::File::create_new(archive_path.with_extension("index"))?;
/// let control = Control::new();
/// let summary = create(&source, &rules, &CreateOptions::default(), archive, index, &control)?;
/// assert_eq!(summary.files, 1);
/// assert_eq!(summary.notes.count, 0);
///
/// let (archive, _) = fs_err::File::open(&archive_path)?.into_parts();
/// assert_eq!(verify(&archive, None, &control)?.sha256, summary.sha256);
/// # Ok(())
/// # }
/// ```
pub fn create(
    source: &Path,
    rules: &IgnoreRules,
    options: &CreateOptions,
    mut archive: impl Write + Send,
    mut index: impl Write + Send,
    control: &Control,
) -> Result<Summary, Error> {
    create_into(source, rules, options, &mut archive, &mut index, control)
}

/// Implements [`create`]. It is not generic, so that the engine is compiled only once: in this
/// crate, with its optimisation.
fn create_into(
    source: &Path,
    rules: &IgnoreRules,
    options: &CreateOptions,
    archive: &mut (dyn Write + Send),
    index: &mut (dyn Write + Send),
    control: &Control,
) -> Result<Summary, Error> {
    let (packed, written) = pipeline::run(options, control, archive, index, |sink| {
        let links = OutsideLinks::new(source);
        let mut packer = Packer::new(options, links, control, sink);
        for note in rules.notes() {
            packer.add_note(note.path.as_bytes(), note.reason.clone());
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

/// A visitor that counts.
struct Counter<'a> {
    totals: Totals,
    linked: HashSet<Identity>,
    control: &'a Control,
    pace: Pace,
}

impl Visitor for Counter<'_> {
    fn visit_folder(&mut self, _: &[u8], _: Option<BorrowedFd<'_>>, _: &Stat) -> Result<(), Error> {
        Ok(())
    }

    fn visit_file(&mut self, found: &WalkEntry<'_>) -> Result<(), Error> {
        self.pace.rest(self.control);
        // What cannot be read is left to `create`.
        let stat = rustix::fs::statat(found.folder, found.name, AtFlags::SYMLINK_NOFOLLOW);
        if let Ok(stat) = stat {
            self.totals.files += 1;
            if stat.st_nlink <= 1 || self.linked.insert(Identity::from(&stat)) {
                // A sparse file can claim 2⁶³ − 1 bytes.
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                self.totals.bytes = self.totals.bytes.saturating_add(size);
            }
        }
        Ok(())
    }

    fn visit_symlink(&mut self, _: &WalkEntry<'_>) -> Result<(), Error> {
        Ok(())
    }

    fn add_note(&mut self, _: &[u8], _: String) {}
}
