//! `holdfast archive …`: creates and reads archives without a service.
//!
//! An archive `X.tar.gz` has two optional files beside it: `X.tar.gz.index`, which locates single
//! files and makes restores faster, and `X.tar.gz.sha256`, in the format of `sha256sum`.

mod list;
mod sorted_list;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use fs_err as fs;

use holdfast_archive::{
    Control, CreateOptions, Error, Expected, IgnoreRules, Notes, RestoreOptions, Summary,
};

use crate::error::CommandError;
use crate::output;

use list::list;

/// The subcommands of `holdfast archive`.
#[derive(Debug, Subcommand)]
pub enum ArchiveCommand {
    /// Creates an archive of a directory
    Create {
        /// Directory to archive
        source: PathBuf,
        /// Archive to create, such as world.tar.gz
        archive: PathBuf,
        /// File with ignore patterns, as in .gitignore [default: .pteroignore in the directory]
        #[arg(long, value_name = "FILE")]
        ignore: Option<PathBuf>,
        /// Compression level, from 0 (none) to 9 (smallest)
        #[arg(
            long,
            value_name = "N",
            default_value_t = 1,
            value_parser = clap::value_parser!(u32).range(0..=9)
        )]
        level: u32,
        /// Number of compression threads; 0 means one per core
        #[arg(long, value_name = "N", default_value_t = 0)]
        threads: usize,
        /// Stores extended attributes of users (user.*)
        #[arg(long)]
        xattrs: bool,
    },
    /// Replaces the contents of a directory with an archive, which is verified and unpacked first
    Restore {
        /// Archive to read
        archive: PathBuf,
        /// Directory to replace; created if it is missing
        destination: PathBuf,
        /// Keeps files that are not in the archive
        #[arg(long)]
        keep: bool,
        /// Restores the owner and group ID of every file
        #[arg(long)]
        owner: bool,
        /// Number of unpacking threads; 0 means one per core
        #[arg(long, value_name = "N", default_value_t = 0)]
        threads: usize,
    },
    /// Verifies that an archive is complete and undamaged
    Verify {
        /// Archive to read
        archive: PathBuf,
    },
    /// Lists the entries of an archive, sorted by path: mode, size in bytes, path
    List {
        /// Archive to read
        archive: PathBuf,
    },
    /// Writes one file of an archive to standard output; needs the file ARCHIVE.index beside it
    Cat {
        /// Archive to read
        archive: PathBuf,
        /// Path of the file, as `list` prints it
        path: OsString,
    },
}

pub(super) fn run(command: ArchiveCommand) -> Result<(), CommandError> {
    match command {
        ArchiveCommand::Create {
            source,
            archive,
            ignore,
            level,
            threads,
            xattrs,
        } => {
            let options = CreateOptions {
                level,
                threads,
                xattrs,
                ..CreateOptions::default()
            };
            create(&source, &archive, ignore.as_deref(), &options)
        }
        ArchiveCommand::Restore {
            archive,
            destination,
            keep,
            owner,
            threads,
        } => {
            let options = RestoreOptions {
                truncate: !keep,
                expected: read_expected(&archive)?,
                apply_owner: owner,
                threads,
                ..RestoreOptions::default()
            };
            restore(&archive, &destination, &options)
        }
        ArchiveCommand::Verify { archive } => verify(&archive),
        ArchiveCommand::List { archive } => list(&open(&archive)?, open_index(&archive)?.as_ref()),
        ArchiveCommand::Cat { archive, path } => cat(&archive, &path),
    }
}

fn create(
    source: &Path,
    archive: &Path,
    ignore: Option<&Path>,
    options: &CreateOptions,
) -> Result<(), CommandError> {
    let rules = ignore_rules(source, ignore)?;
    // The files have temporary names until they are complete.
    let partial = with_suffix(archive, ".partial");
    let partial_index = with_suffix(archive, ".index.partial");
    let mut options = options.clone();
    let replaced = ["", ".index", ".sha256"].map(|suffix| with_suffix(archive, suffix));
    options.own_files = replaced
        .iter()
        .filter_map(|path| file_identity(path))
        .collect();
    let created = write_archive(source, &rules, options, &partial, &partial_index);
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
    output::line(&format!(
        "{} entries, {} files, {} bytes in {} bytes",
        summary.entries, summary.files, summary.source_bytes, summary.archive_bytes
    ))
}

/// Returns the ignore rules of a file, or those of the `.pteroignore` in the directory.
fn ignore_rules(source: &Path, file: Option<&Path>) -> Result<IgnoreRules, CommandError> {
    if let Some(file) = file {
        let text = fs::read_to_string(file)?;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        return Ok(IgnoreRules::new(&lines)?);
    }
    let own = holdfast_archive::read_pteroignore(source)?;
    Ok(IgnoreRules::new(&own.lines)?.with_notes(own.notes))
}

fn write_archive(
    source: &Path,
    rules: &IgnoreRules,
    mut options: CreateOptions,
    archive: &Path,
    index_path: &Path,
) -> Result<Summary, CommandError> {
    let file = fs::File::create(archive)?;
    let index = fs::File::create(index_path)?;
    let own_files = [archive, index_path].map(file_identity);
    options.own_files.extend(own_files.into_iter().flatten());
    let control = Control::new();
    let index_writer = BufWriter::new(&index);
    let summary = holdfast_archive::create(source, rules, &options, &file, index_writer, &control)?;
    file.sync_all()?;
    index.sync_all()?;
    Ok(summary)
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

fn restore(
    archive: &Path,
    destination: &Path,
    options: &RestoreOptions,
) -> Result<(), CommandError> {
    let index = open_index(archive)?;
    holdfast_archive::recover(destination, options.staging_dir.as_deref())?;
    let restored = holdfast_archive::restore(
        &open(archive)?,
        index.as_ref(),
        destination,
        options,
        &Control::new(),
        &mut || Ok(()),
    )?;
    print_notes(&restored.notes);
    output::line(&format!(
        "{} entries, {} files, {} bytes in {}",
        restored.entries,
        restored.files,
        restored.bytes,
        destination.display()
    ))
}

fn verify(archive: &Path) -> Result<(), CommandError> {
    let expected = read_expected(archive)?;
    let verified = holdfast_archive::verify(&open(archive)?, expected.as_ref(), &Control::new())?;
    output::line(&format!(
        "{}  {}",
        hex::encode(verified.sha256),
        archive.display()
    ))?;
    output::line(&format!(
        "complete{}: {} entries, {} files, {} bytes",
        if expected.is_some() {
            ", with the hash of its .sha256"
        } else {
            ""
        },
        verified.entries,
        verified.files,
        verified.source_bytes
    ))
}

fn cat(archive: &Path, path: &OsStr) -> Result<(), CommandError> {
    let file = open(archive)?;
    let mut out = io::stdout().lock();
    let mut read =
        |index: &File, path: &[u8]| holdfast_archive::read_file(&file, index, path, &mut out);
    let result = match open_index(archive)? {
        // The path as it is, or else as `list` shows it.
        Some(index) => match read(&index, path.as_bytes()) {
            Ok(None) => match output::name_of_visible(&path.to_string_lossy()) {
                Some(name) => read(&index, &name),
                None => Ok(None),
            },
            other => other,
        },
        None => {
            return Err(CommandError::new(format!(
                "`{}` has no index beside it: use `tar xzOf` to read a file without one",
                archive.display()
            )));
        }
    };
    match result {
        Err(Error::Output(error)) => Err(CommandError::stdout(&error)),
        Ok(None) => Err(CommandError::new(format!(
            "there is no file `{}` in `{}`",
            path.to_string_lossy(),
            archive.display()
        ))),
        Ok(Some(_)) => out.flush().map_err(|error| CommandError::stdout(&error)),
        Err(error) => Err(error.into()),
    }
}

/// Returns device and inode of a file; `None` if it does not exist.
fn file_identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Removes a file if it exists.
fn remove_if_exists(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Reads the hash file beside an archive, if there is one.
fn read_expected(archive: &Path) -> Result<Option<Expected>, CommandError> {
    let path = with_suffix(archive, ".sha256");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let digits = text.split_whitespace().next().unwrap_or_default();
    let hash = hex::decode(digits)
        .ok()
        .and_then(|bytes| bytes.try_into().ok());
    let sha256 = hash.ok_or_else(|| {
        CommandError::new(format!(
            "`{}` does not start with 64 hexadecimal digits",
            path.display()
        ))
    })?;
    Ok(Some(Expected {
        sha256,
        archive_bytes: fs::metadata(archive)?.len(),
    }))
}

fn open_index(archive: &Path) -> Result<Option<File>, CommandError> {
    match open(&with_suffix(archive, ".index")) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn open(path: &Path) -> io::Result<File> {
    fs::File::open(path).map(fs::File::into_file)
}

fn with_suffix(archive: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(archive);
    name.push(suffix);
    PathBuf::from(name)
}

fn print_notes(notes: &Notes) {
    for note in &notes.first {
        let path = output::visible_name(note.path.as_bytes());
        output::problem(&format!("{path}: {}", note.reason));
    }
    let more = notes.count.saturating_sub(notes.first.len() as u64);
    if more > 0 {
        output::problem(&format!("and {more} more notes"));
    }
}
