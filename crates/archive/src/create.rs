//! Creates archives.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use crate::directory::open_source;
use crate::pack::{OutsideLinks, Packer};
use crate::plan::{FolderId, Plan, PlannedKind};
use crate::scan::{Collector, Scan, scan};
use crate::tree_cursor::TreeCursor;
use crate::walk::WalkEntry;
use crate::{Control, CreateOptions, Error, IgnoreRules, Summary, pipeline};

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
    archive: impl Write + Send,
    index: impl Write + Send,
    control: &Control,
) -> Result<Summary, Error> {
    let scanned = scan(source, rules, control)?;
    create_from(scanned, source, rules, options, archive, index, control)
}

/// Archives `source` after a scan with the same rules. Otherwise the same as [`create`].
///
/// What was created since the scan is left out. What is gone becomes a note.
///
/// # Errors
///
/// The same as [`create`].
pub fn create_from(
    scanned: Scan,
    source: &Path,
    rules: &IgnoreRules,
    options: &CreateOptions,
    mut archive: impl Write + Send,
    mut index: impl Write + Send,
    control: &Control,
) -> Result<Summary, Error> {
    let output = (
        &mut archive as &mut (dyn Write + Send),
        &mut index as &mut (dyn Write + Send),
    );
    create_into(scanned, source, rules, options, output, control)
}

/// Implements [`create_from`]. It is not generic, so that the engine is compiled only once: in this
/// crate, with its optimisation.
fn create_into(
    scanned: Scan,
    source: &Path,
    rules: &IgnoreRules,
    options: &CreateOptions,
    (archive, index): (&mut (dyn Write + Send), &mut (dyn Write + Send)),
    control: &Control,
) -> Result<Summary, Error> {
    let root = open_source(source)?;
    let since = scanned.unsettled_since;
    let (packed, written) = pipeline::run(options, since, control, archive, index, |sink| {
        let links = OutsideLinks::new(source);
        let mut packer = Packer::new(options, links, since, control, sink);
        for note in rules.notes() {
            packer.add_note(note.path.as_bytes(), note.reason.clone());
        }
        let notes = match scanned.plan {
            Some(plan) => {
                pack(source, &root, &plan, &mut packer, control)?;
                scanned.notes
            }
            None => {
                let mut pack_portion = |plan| pack(source, &root, &plan, &mut packer, control);
                let collector = Collector::new(control, &mut pack_portion);
                let collected = collector.collect(source, rules)?;
                pack(source, &root, &collected.plan, &mut packer, control)?;
                collected.notes
            }
        };
        packer.add_notes(notes);
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

/// Packs the entries of a plan in their order.
fn pack(
    source: &Path,
    root: &OwnedFd,
    plan: &Plan,
    packer: &mut Packer<'_>,
    control: &Control,
) -> Result<(), Error> {
    let cursor = TreeCursor::new(root.as_fd(), plan);
    let mut cursor = cursor.map_err(|error| Error::io("open", source, error))?;
    let (first, last) = plan.directories();
    for folder in first {
        control.check()?;
        pack_folder(&mut cursor, plan, folder, packer)?;
    }
    for entry in plan.ordered_entries() {
        control.check()?;
        let name = plan.entry_name(entry);
        let folder = match cursor.enter(entry.folder) {
            Ok(folder) => folder,
            Err(error) => {
                packer.note_unreachable(&plan.path(entry.folder, name), error)?;
                continue;
            }
        };
        cursor.with_path(name, |path| {
            let found = WalkEntry {
                folder: folder.as_fd(),
                name,
                path,
            };
            match entry.kind {
                PlannedKind::File => packer.put_file(&found, plan.is_large(entry)),
                PlannedKind::Symlink => packer.put_symlink(&found),
            }
        })?;
    }
    for folder in last {
        control.check()?;
        pack_folder(&mut cursor, plan, folder, packer)?;
    }
    Ok(())
}

/// Packs the entry of a folder.
fn pack_folder(
    cursor: &mut TreeCursor<'_>,
    plan: &Plan,
    folder: FolderId,
    packer: &mut Packer<'_>,
) -> Result<(), Error> {
    if let Ok(opened) = cursor.enter(folder) {
        return packer.put_folder(cursor.path(), opened.as_fd());
    }
    let name = plan.folder_name(folder);
    match cursor.enter(plan.parent(folder)) {
        Ok(parent) => cursor.with_path(name, |path| {
            let found = WalkEntry {
                folder: parent.as_fd(),
                name,
                path,
            };
            packer.put_closed_folder(&found)
        }),
        Err(error) => packer.note_unreachable(&plan.path(plan.parent(folder), name), error),
    }
}
