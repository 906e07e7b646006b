//! A command line for the engine, for benchmarks and tests: create, restore, recover, verify, list,
//! cat.
//!
//! `holdfast archive` is the command for users.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command prints its results"
)]

use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use holdfast_archive::{
    Control, CreateOptions, IgnoreRules, RestoreOptions, create, list, read_file, recover, restore,
    verify,
};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const USAGE: &str = "usage: holdfast-archive create SRC OUT.tar.gz
           [--ignore FILE] [--level N] [--threads N] [--xattrs]
       holdfast-archive restore IN.tar.gz DST [--sha256 HASH]
           [--keep] [--no-index] [--threads N] [--staging DIR] [--owner]
           [--swap auto|exchange|children] [--path PATH]...
       holdfast-archive recover DST [--staging DIR]
       holdfast-archive verify IN.tar.gz
       holdfast-archive list IN.tar.gz [--no-index]
       holdfast-archive cat IN.tar.gz PATH";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = run(&arguments);
    if std::env::var_os("HOLDFAST_ARCHIVE_PEAK").is_some()
        && let Ok(status) = fs_err::read_to_string("/proc/self/status")
        && let Some(peak) = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))
    {
        eprintln!("peak memory: {} KiB", peak.trim().trim_end_matches(" kB"));
    }
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(error) = cause {
                text = format!("{text}: {error}");
                cause = error.source();
            }
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

/// The arguments of a command, separated into options and others.
struct Arguments {
    plain: Vec<String>,
    options: Vec<(String, String)>,
}

impl Arguments {
    fn parse(all: &[String]) -> Result<Self, String> {
        let (mut plain, mut options) = (Vec::new(), Vec::new());
        let mut rest = all.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                flag @ ("--keep" | "--no-index" | "--xattrs" | "--owner") => {
                    options.push((flag.to_owned(), String::new()));
                }
                name if name.starts_with("--") => {
                    let value = rest.next().ok_or(USAGE)?;
                    options.push((name.to_owned(), value.clone()));
                }
                _ => plain.push(argument.clone()),
            }
        }
        Ok(Self { plain, options })
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.options
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str, default: usize) -> Result<usize, Box<dyn std::error::Error>> {
        Ok(self.get(name).map_or(Ok(default), str::parse)?)
    }
}

fn run(all: &[String]) -> Outcome {
    let arguments = Arguments::parse(all)?;
    let plain: Vec<&str> = arguments.plain.iter().map(String::as_str).collect();
    match plain.as_slice() {
        ["create", source, archive] => run_create(&arguments, source, archive),
        ["restore", archive, destination] => run_restore(&arguments, archive, destination),
        ["recover", destination] => {
            let staging = arguments.get("--staging").map(PathBuf::from);
            println!("{:?}", recover(Path::new(destination), staging.as_deref())?);
            Ok(())
        }
        ["verify", archive] => {
            let found = verify(&open(archive)?, None, &Control::new())?;
            println!("{}  {archive}", hex::encode(found.sha256));
            println!(
                "{} entries, {} files, {} bytes",
                found.entries, found.files, found.source_bytes
            );
            Ok(())
        }
        ["list", archive] => {
            let index = open(&index_of(archive))
                .ok()
                .filter(|_| arguments.get("--no-index").is_none());
            let mut out = BufWriter::new(std::io::stdout().lock());
            list(
                &open(archive)?,
                index.as_ref(),
                &Control::new(),
                &mut |entry| {
                    let path = String::from_utf8_lossy(&entry.path);
                    writeln!(
                        out,
                        "{:o} {:>12} {:?} {path}",
                        entry.mode, entry.size, entry.kind
                    )
                    .map_err(holdfast_archive::Error::Output)
                },
            )?;
            Ok(out.flush()?)
        }
        ["cat", archive, path] => {
            let index = open(&index_of(archive))?;
            let mut out = std::io::stdout().lock();
            match read_file(&open(archive)?, &index, path.as_bytes(), &mut out)? {
                Some(_) => Ok(()),
                None => Err(format!("{path} is not in {archive}").into()),
            }
        }
        _ => Err(USAGE.into()),
    }
}

fn run_create(arguments: &Arguments, source: &str, archive: &str) -> Outcome {
    let patterns = match arguments.get("--ignore") {
        Some(file) => fs_err::read_to_string(file)?
            .lines()
            .map(str::to_owned)
            .collect(),
        None => Vec::new(),
    };
    let options = CreateOptions {
        level: arguments.number("--level", 1)?.try_into()?,
        threads: arguments.number("--threads", 0)?,
        xattrs: arguments.get("--xattrs").is_some(),
        ..CreateOptions::default()
    };
    let rules = IgnoreRules::new(&patterns)?;
    let output = fs_err::File::create(archive)?;
    let index = fs_err::File::create(index_of(archive))?;
    let control = Control::new();
    let summary = create(
        Path::new(source),
        &rules,
        &options,
        &output,
        BufWriter::new(index),
        &control,
    )?;
    for note in &summary.notes.first {
        eprintln!("{note}");
    }
    println!("{}  {archive}", hex::encode(summary.sha256));
    println!(
        "{} entries, {} files, {} bytes in {} bytes, {} notes",
        summary.entries,
        summary.files,
        summary.source_bytes,
        summary.archive_bytes,
        summary.notes.count
    );
    Ok(())
}

fn run_restore(arguments: &Arguments, archive: &str, destination: &str) -> Outcome {
    let index = open(&index_of(archive))
        .ok()
        .filter(|_| arguments.get("--no-index").is_none());
    let expected = match arguments.get("--sha256") {
        Some(hash) => Some(holdfast_archive::Expected {
            sha256: hex::decode(hash)?
                .try_into()
                .map_err(|_| "a SHA-256 has 64 hexadecimal digits")?,
            archive_bytes: fs_err::metadata(archive)?.len(),
        }),
        None => None,
    };
    let paths = arguments.options.iter().filter(|(key, _)| key == "--path");
    let options = RestoreOptions {
        paths: paths.map(|(_, path)| path.clone().into_bytes()).collect(),
        truncate: arguments.get("--keep").is_none(),
        expected,
        threads: arguments.number("--threads", 0)?,
        staging_dir: arguments.get("--staging").map(PathBuf::from),
        apply_owner: arguments.get("--owner").is_some(),
        swap: arguments.get("--swap").unwrap_or("auto").parse()?,
        ..RestoreOptions::default()
    };
    let control = Control::new();
    let archive = open(archive)?;
    let destination = Path::new(destination);
    let restored = restore(
        &archive,
        index.as_ref(),
        destination,
        &options,
        &control,
        &mut || Ok(()),
    )?;
    for note in &restored.notes.first {
        eprintln!("{note}");
    }
    println!(
        "{} entries, {} files, {} bytes",
        restored.entries, restored.files, restored.bytes
    );
    Ok(())
}

fn open(path: &str) -> Result<std::fs::File, std::io::Error> {
    Ok(fs_err::File::open(path)?.into_parts().0)
}

fn index_of(archive: &str) -> String {
    format!("{archive}.index")
}
