//! `holdfast archive create`: archives a directory, after a previous archive or without one.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use fs_err as fs;

use holdfast_archive::{
    Control, CreateOptions, Error, FileOutput, IgnoreRules, PlainOutput, Previous, Progress,
    Summary, create_from,
};

use super::{file_identity, open, open_index, print_notes, remove_if_exists, with_suffix};
use crate::error::CommandError;
use crate::{output, progress};

/// Runs `holdfast archive create`.
pub(super) fn run(
    source: &Path,
    archive: &Path,
    ignore: Option<&Path>,
    mut options: CreateOptions,
    previous: Option<(&Path, bool)>,
) -> Result<(), CommandError> {
    let rules = ignore_rules(source, ignore)?;
    // The files have temporary names until they are complete.
    let partial = with_suffix(archive, ".partial");
    let partial_index = with_suffix(archive, ".index.partial");
    let previous_archive = previous.map(|(path, _)| path);
    let archives = [Some(archive), previous_archive];
    for archive in archives.into_iter().flatten() {
        let files = ["", ".index", ".sha256"].map(|suffix| with_suffix(archive, suffix));
        let identities = files.iter().filter_map(|path| file_identity(path));
        options.own_files.extend(identities);
    }
    let write = |previous: Option<(&Path, bool)>, note: Option<String>| {
        let input = ArchiveInput {
            source,
            rules: &rules,
            previous,
            note,
        };
        write_archive(&input, options.clone(), &partial, &partial_index)
    };
    let mut created = write(previous, None);
    if let Err(Failure::Previous(reason)) = created {
        created = write(
            None,
            Some(format!("everything was archived again: {reason}")),
        );
    }
    let created = created.map_err(|failure| match failure {
        Failure::Previous(reason) => CommandError::new(reason),
        Failure::Other(error) => error,
    });
    let summary = match created {
        Ok(summary) => summary,
        Err(create_error) => {
            for path in [&partial, &partial_index] {
                if let Err(error) = remove_if_exists(path) {
                    output::problem(&error.to_string());
                }
            }
            return Err(create_error);
        }
    };
    let hash = hex::encode(summary.sha256);
    replace_archive(archive, &partial, &partial_index, &hash)?;
    print_notes(&summary.notes);
    output::line(&format!("{hash}  {}", archive.display()))?;
    let reused = match previous {
        Some(_) => format!(", {} of them reused", summary.reused_bytes),
        None => String::new(),
    };
    output::line(&format!(
        "{} entries, {} files, {} bytes in {} bytes{reused}",
        summary.entries, summary.files, summary.source_bytes, summary.archive_bytes
    ))
}

/// Returns the ignore rules of a file, or those of the ignore list in the directory.
fn ignore_rules(source: &Path, file: Option<&Path>) -> Result<IgnoreRules, CommandError> {
    if let Some(file) = file {
        let text = fs::read_to_string(file)?;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        return Ok(IgnoreRules::new(&lines)?);
    }
    let own = holdfast_archive::read_pteroignore(source)?;
    Ok(IgnoreRules::new(&own.lines)?.with_notes(own.notes))
}

/// Why an archive was not written.
enum Failure {
    /// The previous archive cannot be reused. Another attempt without it can succeed.
    Previous(String),
    Other(CommandError),
}

impl<E: Into<CommandError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// Separates what only the previous archive is the reason for.
fn failure(error: Error) -> Failure {
    match error {
        Error::PreviousUnusable { .. } | Error::PreviousUnsuitable { .. } => {
            Failure::Previous(error.to_string())
        }
        other => Failure::Other(other.into()),
    }
}

/// What an archive is created from.
struct ArchiveInput<'a> {
    source: &'a Path,
    rules: &'a IgnoreRules,
    /// The previous archive, and whether every file is read again.
    previous: Option<(&'a Path, bool)>,
    /// A note for the summary.
    note: Option<String>,
}

fn write_archive(
    input: &ArchiveInput<'_>,
    mut options: CreateOptions,
    archive: &Path,
    index_path: &Path,
) -> Result<Summary, Failure> {
    let file = fs::File::create(archive)?;
    let index = fs::File::create(index_path)?;
    let own_files = [archive, index_path].map(file_identity);
    options.own_files.extend(own_files.into_iter().flatten());
    let control = Control::new();
    let title = input.source.display().to_string();
    let step = |progress: Progress| match progress.files_total {
        0 => "scanning",
        _ => "archiving",
    };
    let summary = progress::during(&title, step, &control, || {
        write_files(input, &options, &file, &index, &control)
    })?;
    file.sync_all()?;
    index.sync_all()?;
    Ok(summary)
}

/// Writes the archive and its index.
fn write_files(
    input: &ArchiveInput<'_>,
    options: &CreateOptions,
    file: &fs::File,
    index: &fs::File,
    control: &Control,
) -> Result<Summary, Failure> {
    let index_writer = BufWriter::new(index);
    let (source, rules) = (input.source, input.rules);
    let (mut scanned, previous) = match input.previous {
        None => (holdfast_archive::scan(source, rules, control)?, None),
        Some((path, reread)) => {
            let (old, opened) = open_previous(path, options)?;
            let scanned = holdfast_archive::scan_after(opened, reread, source, rules, control)?;
            (scanned, Some(old))
        }
    };
    if let Some(note) = &input.note {
        scanned.add_note(note.clone());
    }
    let created = match &previous {
        None => {
            let output = PlainOutput(file);
            create_from(scanned, rules, options, output, index_writer, control)
        }
        Some(previous) => {
            let output = FileOutput::new(file.file(), previous);
            create_from(scanned, rules, options, output, index_writer, control)
        }
    };
    created.map_err(failure)
}

/// Opens an archive to reuse it, and its index.
fn open_previous(path: &Path, options: &CreateOptions) -> Result<(File, Previous), Failure> {
    let archive = open(path)?;
    let index = open_index(path)?.ok_or_else(|| {
        let index = with_suffix(path, ".index");
        Failure::Previous(format!("there is no {}", index.display()))
    })?;
    let file = archive.try_clone()?;
    Ok((
        file,
        Previous::open(archive, index, options).map_err(failure)?,
    ))
}

/// Moves a new archive and its index into place, and writes its hash file.
///
/// An archive must never have the index or hash of another archive beside it. So the old ones are
/// removed before the archive is replaced, and the new ones are renamed after it.
fn replace_archive(
    archive: &Path,
    partial: &Path,
    partial_index: &Path,
    hash: &str,
) -> Result<(), CommandError> {
    for suffix in [".sha256", ".index"] {
        remove_if_exists(&with_suffix(archive, suffix))?;
    }
    fs::rename(partial, archive)?;
    fs::rename(partial_index, with_suffix(archive, ".index"))?;
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    let partial_hash = with_suffix(archive, ".sha256.partial");
    fs::write(&partial_hash, format!("{hash}  {name}\n"))?;
    fs::rename(&partial_hash, with_suffix(archive, ".sha256"))?;
    Ok(())
}
