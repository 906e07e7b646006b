//! `holdfast archive …`: the archive engine by hand, without a service.
//!
//! Beside `X.tar.gz` stand `X.tar.gz.index`, with which single files are found and
//! restores are faster, and `X.tar.gz.sha256`, as `sha256sum` writes it. Neither is
//! needed; both are used when they are there.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use fs_err as fs;

use holdfast_archive::{
    Control, CreateOptions, EntryKind, Error, Expected, IgnoreRules, Notes, RestoreOptions,
};

use crate::failure::Failure;
use crate::output;

/// What can be done with archives.
#[derive(Debug, Subcommand)]
pub enum ArchiveCommand {
    /// Make an archive of a directory
    Create {
        /// The directory
        source: PathBuf,
        /// The archive, such as world.tar.gz
        archive: PathBuf,
        /// File of patterns that say what is left out, as in .gitignore
        #[arg(long, value_name = "FILE")]
        ignore: Option<PathBuf>,
        /// How hard to compress: 0 (not at all) to 9
        #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(0..=9))]
        level: u32,
        /// How many threads compress; 0 for one a core
        #[arg(long, value_name = "N", default_value_t = 0)]
        threads: usize,
        /// Store extended attributes too
        #[arg(long)]
        xattrs: bool,
    },
    /// Put an archive's contents in place of a directory, once all of it was verified and unpacked
    Restore {
        /// The archive
        archive: PathBuf,
        /// The directory; made if it is not there
        destination: PathBuf,
        /// Keep files that are not in the archive
        #[arg(long)]
        keep: bool,
        /// Give every file its owner's numbers back
        #[arg(long)]
        owner: bool,
        /// How many threads unpack; 0 for one a core
        #[arg(long, value_name = "N", default_value_t = 0)]
        threads: usize,
    },
    /// Check that an archive is whole
    Verify {
        /// The archive
        archive: PathBuf,
    },
    /// List an archive's entries: mode, size in bytes, path
    List {
        /// The archive
        archive: PathBuf,
    },
    /// Write one file out of an archive to standard output; through the index beside it that takes no time
    Cat {
        /// The archive
        archive: PathBuf,
        /// The file, as `list` names it
        path: OsString,
    },
}

pub(super) async fn run(command: ArchiveCommand) -> Result<(), Failure> {
    tokio::task::spawn_blocking(move || match command {
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
                expected: expected(&archive)?,
                apply_owner: owner,
                threads,
                ..RestoreOptions::default()
            };
            restore(&archive, &destination, &options)
        }
        ArchiveCommand::Verify { archive } => verify(&archive),
        ArchiveCommand::List { archive } => list(&archive),
        ArchiveCommand::Cat { archive, path } => cat(&archive, &path),
    })
    .await?
}

fn create(
    source: &Path,
    archive: &Path,
    ignore: Option<&Path>,
    options: &CreateOptions,
) -> Result<(), Failure> {
    let rules = if let Some(file) = ignore {
        let text = fs::read_to_string(file)?;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        IgnoreRules::new(&lines)?
    } else {
        let own = holdfast_archive::read_pteroignore(source)?;
        IgnoreRules::new(&own.lines)?.with_unused_list(own.unused)
    };
    // Under other names until all of it is there.
    let (new, new_index) = (
        beside(archive, ".partial"),
        beside(archive, ".index.partial"),
    );
    let made = (|| {
        let file = fs::File::create(&new)?;
        let index = fs::File::create(&new_index)?;
        let control = Control::new();
        let summary = holdfast_archive::create(
            source,
            &rules,
            options,
            &file,
            BufWriter::new(&index),
            &control,
        )?;
        file.sync_all()?;
        index.sync_all()?;
        Ok::<_, Failure>(summary)
    })();
    let summary = match made {
        Ok(summary) => summary,
        Err(failure) => {
            for partial in [&new, &new_index] {
                if let Err(error) = remove(partial) {
                    output::problem(&error.to_string());
                }
            }
            return Err(failure);
        }
    };
    let name = archive
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let hash = hex::encode(summary.sha256);
    // An archive is whole without what lies beside it, but not with what belongs to another one: whenever this
    // ends, there is the old one or the new one, alone or with its own.
    for suffix in [".sha256", ".index"] {
        remove(&beside(archive, suffix))?;
    }
    fs::rename(&new, archive)?;
    fs::rename(&new_index, beside(archive, ".index"))?;
    let new_hash = beside(archive, ".sha256.partial");
    fs::write(&new_hash, format!("{hash}  {name}\n"))?;
    fs::rename(&new_hash, beside(archive, ".sha256"))?;
    tell(&summary.notes);
    output::line(&format!("{hash}  {}", archive.display()));
    output::line(&format!(
        "{} entries, {} files, {} bytes in {} bytes",
        summary.entries, summary.files, summary.source_bytes, summary.archive_bytes
    ));
    Ok(())
}

fn restore(archive: &Path, destination: &Path, options: &RestoreOptions) -> Result<(), Failure> {
    let index = index(archive)?;
    holdfast_archive::recover(destination, options.staging_dir.as_deref())?;
    let restored = holdfast_archive::restore(
        &open(archive)?,
        index.as_ref(),
        destination,
        options,
        &Control::new(),
        &mut || Ok(()),
    )?;
    tell(&restored.notes);
    output::line(&format!(
        "{} entries, {} files, {} bytes in {}",
        restored.entries,
        restored.files,
        restored.bytes,
        destination.display()
    ));
    Ok(())
}

fn verify(archive: &Path) -> Result<(), Failure> {
    let expected = expected(archive)?;
    let found = holdfast_archive::verify(&open(archive)?, expected.as_ref(), &Control::new())?;
    output::line(&format!(
        "{}  {}",
        hex::encode(found.sha256),
        archive.display()
    ));
    output::line(&format!(
        "whole{}: {} entries, {} files, {} bytes",
        if expected.is_some() {
            ", and what its .sha256 says"
        } else {
            ""
        },
        found.entries,
        found.files,
        found.source_bytes
    ));
    Ok(())
}

fn list(archive: &Path) -> Result<(), Failure> {
    let index = index(archive)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let listed = holdfast_archive::list(
        &open(archive)?,
        index.as_ref(),
        &Control::new(),
        &mut |entry| {
            let slash = if entry.kind == EntryKind::Directory {
                "/"
            } else {
                ""
            };
            let path = String::from_utf8_lossy(&entry.path);
            writeln!(out, "{:04o} {:>12} {path}{slash}", entry.mode, entry.size)
                .map_err(Error::Output)
        },
    );
    match listed {
        // The reader has seen enough (`| head`).
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        other => other?,
    };
    Ok(out.flush()?)
}

fn cat(archive: &Path, path: &OsStr) -> Result<(), Failure> {
    let file = open(archive)?;
    let mut out = io::stdout().lock();
    let found = match index(archive)? {
        Some(index) => holdfast_archive::read_file(&file, &index, path.as_bytes(), &mut out),
        None => {
            return Err(Failure::new(format!(
                "`{}` has no index beside it: `tar xzOf` finds files without one",
                archive.display()
            )));
        }
    };
    match found {
        // The reader has seen enough (`| head`).
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Ok(None) => Err(Failure::new(format!(
            "there is no file `{}` in `{}`",
            path.to_string_lossy(),
            archive.display()
        ))),
        other => other.map(drop).map_err(Failure::from),
    }
}

/// Removes a file, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Reads the hash beside an archive, if there is one.
fn expected(archive: &Path) -> Result<Option<Expected>, Failure> {
    let path = beside(archive, ".sha256");
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
        Failure::new(format!(
            "`{}` does not begin with 64 hexadecimal digits",
            path.display()
        ))
    })?;
    Ok(Some(Expected {
        sha256,
        archive_bytes: fs::metadata(archive)?.len(),
    }))
}

fn index(archive: &Path) -> Result<Option<File>, Failure> {
    match open(&beside(archive, ".index")) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn open(path: &Path) -> io::Result<File> {
    fs::File::open(path).map(fs::File::into_file)
}

fn beside(archive: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(archive);
    name.push(suffix);
    PathBuf::from(name)
}

fn tell(notes: &Notes) {
    for note in &notes.first {
        output::problem(&note.to_string());
    }
    let more = notes.count.saturating_sub(notes.first.len() as u64);
    if more > 0 {
        output::problem(&format!("and {more} more notes"));
    }
}
