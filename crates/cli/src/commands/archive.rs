//! `holdfast archive …`: creates and reads archives without a service.
//!
//! An archive `X.tar.gz` has two optional files beside it: `X.tar.gz.index`, which locates single
//! files and makes restores faster, and `X.tar.gz.sha256`, in the format of `sha256sum`.

mod create;
mod list;
mod sorted_list;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use fs_err as fs;

use holdfast_archive::{
    Control, CreateOptions, Error, Expected, Notes, Progress, RestoreOptions, SwapMethod,
};
use holdfast_domain::RestorePaths;

use crate::error::CommandError;
use crate::{output, progress};

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
        /// File with ignore patterns, as in .gitignore [default: .pteroignore or .pelicanignore in
        /// the directory]
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
        /// Takes over what has not changed since this archive, which needs its ARCHIVE.index
        #[arg(long, value_name = "ARCHIVE")]
        previous: Option<PathBuf>,
        /// Reads every file, and takes over only contents that are equal
        #[arg(long, requires = "previous")]
        reread: bool,
    },
    /// Replaces the contents of a directory with an archive, which is verified and unpacked first
    Restore {
        /// Archive to read
        archive: PathBuf,
        /// Directory to replace; created if it is missing
        destination: PathBuf,
        /// Keeps files that are not in the archive; with --path, those in the restored folders
        #[arg(long)]
        keep: bool,
        /// Replaces only this file or folder, below DESTINATION; can be given several times
        #[arg(long, value_name = "PATH")]
        path: Vec<String>,
        /// Restores the owner and group ID of every file
        #[arg(long)]
        owner: bool,
        /// What is exchanged: the directory itself, its children, or what suits the directory
        /// (auto, exchange, children)
        #[arg(long, value_name = "METHOD", default_value = "auto")]
        swap: SwapMethod,
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
            previous,
            reread,
        } => {
            let options = CreateOptions {
                level,
                threads,
                xattrs,
                ..CreateOptions::default()
            };
            let previous = previous.as_deref().map(|path| (path, reread));
            create::run(&source, &archive, ignore.as_deref(), options, previous)
        }
        ArchiveCommand::Restore {
            archive,
            destination,
            keep,
            path,
            owner,
            swap,
            threads,
        } => {
            let options = RestoreOptions {
                truncate: !keep,
                paths: restore_paths(path)?,
                expected: read_expected(&archive)?,
                apply_owner: owner,
                swap,
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

/// Checks the paths of a restore. A slash at the end, as a shell completes it, is left out.
fn restore_paths(given: Vec<String>) -> Result<Vec<Vec<u8>>, CommandError> {
    if given.is_empty() {
        return Ok(Vec::new());
    }
    let trimmed = given.iter().map(|path| match path.trim_end_matches('/') {
        "" => path.clone(),
        trimmed => trimmed.to_owned(),
    });
    let paths = RestorePaths::parse(trimmed.collect()).map_err(|refused| {
        let path = refused.path.and_then(|number| given.get(number));
        let path = path.map(|path| format!(" `{path}`")).unwrap_or_default();
        CommandError::new(format!("--path{path}: {refused}"))
    })?;
    Ok(paths.to_bytes())
}

fn restore(
    archive: &Path,
    destination: &Path,
    options: &RestoreOptions,
) -> Result<(), CommandError> {
    let index = open_index(archive)?;
    holdfast_archive::recover(destination, options.staging_dir.as_deref())?;
    let (file, control) = (open(archive)?, Control::new());
    let title = archive.display().to_string();
    // Files are counted only while they are unpacked.
    let step = |progress: Progress| match progress.files_total {
        0 => "verifying",
        _ => "unpacking",
    };
    let restored = progress::during(&title, step, &control, || {
        holdfast_archive::restore(
            &file,
            index.as_ref(),
            destination,
            options,
            &control,
            &mut || Ok(()),
        )
    })?;
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
    let (file, control) = (open(archive)?, Control::new());
    let title = archive.display().to_string();
    let verified = progress::during(
        &title,
        |_| "verifying",
        &control,
        || holdfast_archive::verify(&file, expected.as_ref(), &control),
    )?;
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
