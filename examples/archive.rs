//! The archive engine as a library: create an archive of a directory, verify it, and restore it
//! elsewhere.
//!
//! ```text
//! cargo run -p holdfast-archive --example archive -- DIRECTORY
//! ```
//!
//! It writes only to a temporary directory, which it removes at the end.
#![expect(clippy::print_stdout, reason = "an example speaks to people")]

use std::error::Error;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use fs_err as fs;

use holdfast_archive::{
    Control, CreateOptions, Expected, IgnoreRules, RestoreOptions, create, read_pteroignore,
    restore, verify,
};

fn main() -> Result<(), Box<dyn Error>> {
    let source = std::env::args_os().nth(1).map(PathBuf::from);
    let source = source.ok_or("usage: archive DIRECTORY")?;
    let work = tempfile::tempdir()?;
    let archive_path = work.path().join("backup.tar.gz");
    let index_path = work.path().join("backup.index");
    let restored = work.path().join("restored");

    let expected = create_archive(&source, &archive_path, &index_path)?;
    restore_archive(&archive_path, &index_path, &restored, expected)
}

/// Writes an archive of `source` and its index, and returns what a reader of it must find.
fn create_archive(
    source: &Path,
    archive_path: &Path,
    index_path: &Path,
) -> Result<Expected, Box<dyn Error>> {
    // The patterns that a server's owner has written down, in the syntax of .gitignore.
    let rules = IgnoreRules::new(&read_pteroignore(source)?.lines)?;
    // Another thread can read the progress from it, or cancel.
    let control = Control::new();
    let summary = create(
        source,
        &rules,
        &CreateOptions::default(),
        BufWriter::new(fs::File::create(archive_path)?),
        BufWriter::new(fs::File::create(index_path)?),
        &control,
    )?;
    println!(
        "created:  {} files, {} bytes in an archive of {} bytes",
        summary.files, summary.source_bytes, summary.archive_bytes
    );
    println!("          SHA-256 {}", hex::encode(summary.sha256));
    // A partial archive is no success: say what is missing.
    for note in &summary.notes.first {
        println!("          not as found: {note}");
    }
    Ok(Expected {
        sha256: summary.sha256,
        archive_bytes: summary.archive_bytes,
    })
}

/// Verifies the archive, and restores it into `destination`.
fn restore_archive(
    archive_path: &Path,
    index_path: &Path,
    destination: &Path,
    expected: Expected,
) -> Result<(), Box<dyn Error>> {
    let archive = fs::File::open(archive_path)?.into_file();
    let index = fs::File::open(index_path)?.into_file();
    let verified = verify(&archive, Some(&expected), &Control::new())?;
    println!("verified: {} entries", verified.entries);

    fs::create_dir(destination)?;
    let options = RestoreOptions {
        // The destination becomes what the archive holds, and nothing else.
        truncate: true,
        expected: Some(expected),
        ..RestoreOptions::default()
    };
    // Called when the files are unpacked, right before the two directories are exchanged. An error
    // leaves the destination as it was.
    let mut before_swap = || Ok(());
    let summary = restore(
        &archive,
        Some(&index),
        destination,
        &options,
        &Control::new(),
        &mut before_swap,
    )?;
    println!("restored: {} files, {} bytes", summary.files, summary.bytes);
    Ok(())
}
