//! `holdfast client download`: an archive in a file, or on stdout.
//!
//! The file has its name only when it is whole and has the hash that the service knows. Until then
//! it is `NAME.HASH.partial` beside it, which the next download of the same archive continues.

mod partial;

use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use fs_err as fs;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use holdfast_archive::{Control, Expected};

use super::api::{Api, ApiFailure};
use super::find::{self, FoundBackup, Latest, text};
use crate::error::CommandError;
use crate::progress::{self, Measure, ProgressMeter, size};
use crate::{output, shutdown};

use partial::PartialFile;

/// How often a download is continued without a single byte in between.
const ATTEMPTS: u32 = 6;
/// The exit code after Ctrl-C, as a shell shows it.
const INTERRUPTED_EXIT_CODE: u8 = 128 + 2;

/// The options of `holdfast client download`.
#[derive(Debug, Args)]
pub struct DownloadOptions {
    /// UUID, short ID or name of the server
    server: String,
    /// UUID, short ID or name of the backup, or `latest`
    #[arg(default_value = "latest")]
    backup: String,
    /// File to write, or a folder; `-` for standard output [default: UUID.tar.gz]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Reads the archive once more from the file, and checks every entry
    #[arg(long)]
    verify: bool,
}

/// The archive to download.
struct Archive<'a> {
    api: &'a Api,
    backup: &'a FoundBackup,
    bytes: u64,
    sha256: [u8; 32],
}

pub(super) async fn run(
    api: &Api,
    json: bool,
    options: DownloadOptions,
) -> Result<(), CommandError> {
    let server = find::server(api, &options.server).await?;
    let backup = find::backup(api, &server, &options.backup, Latest::Completed).await?;
    let archive = Archive::of(api, &backup)?;
    let name = format!("{}.tar.gz", backup.uuid);
    let target = match options.output {
        Some(path) if path == Path::new("-") => {
            return to_stdout(&archive, json, options.verify).await;
        }
        Some(path) if path.is_dir() => path.join(name),
        Some(path) => path,
        None => PathBuf::from(name),
    };
    let title = target.display().to_string();
    let mut meter = ProgressMeter::of_quick_work(&title, json);
    let partial = PartialFile::open(&target, &archive.sha256, archive.bytes)?;
    if partial.length() > 0 {
        let length = size(partial.length());
        meter.notice(&format!(
            "continuing `{}` after {length}",
            partial.path().display()
        ));
    }
    let download = archive.download(partial, &mut meter);
    let downloaded = tokio::select! {
        downloaded = download => downloaded,
        stopped = shutdown::requested() => {
            stopped?;
            Err(CommandError::new("interrupted: the same command continues the download")
                .with_exit_code(INTERRUPTED_EXIT_CODE))
        }
    };
    drop(meter);
    let partial = downloaded?;
    if options.verify {
        verify(&archive, &partial, &title)?;
    }
    partial.finish(&target)?;
    let hash = hex::encode(archive.sha256);
    if json {
        return output::result(
            true,
            &json!({
                "uuid": backup.attributes["uuid"],
                "file": target,
                "bytes": archive.bytes,
                "sha256_hash": hash,
                "is_verified": options.verify,
            }),
        );
    }
    output::line(&format!("{hash}  {}", output::visible(&title)))
}

/// Reads the downloaded archive from its file, and checks every entry.
fn verify(archive: &Archive<'_>, partial: &PartialFile, title: &str) -> Result<(), CommandError> {
    let expected = Expected {
        sha256: archive.sha256,
        archive_bytes: archive.bytes,
    };
    let file = fs::File::open(partial.path())?.into_file();
    let control = Control::new();
    let verified = progress::during(
        title,
        |_| "verifying",
        &control,
        || holdfast_archive::verify(&file, Some(&expected), &control),
    );
    match verified {
        Ok(_) => Ok(()),
        Err(error) => Err(CommandError::from(error).after(&format!(
            "the archive is downloaded to `{}`, but not intact",
            partial.path().display()
        ))),
    }
}

async fn to_stdout(archive: &Archive<'_>, json: bool, verify: bool) -> Result<(), CommandError> {
    if json || verify {
        return Err(CommandError::new(
            "`-o -` writes only the archive to standard output: leave out --json and --verify",
        ));
    }
    if io::stdout().is_terminal() {
        return Err(CommandError::new(
            "the archive is not written to a terminal: name a file with `-o FILE`, or redirect",
        ));
    }
    let mut meter = ProgressMeter::of_quick_work("standard output", false);
    let mut stdout = io::stdout();
    let mut write = |bytes: &[u8]| {
        stdout
            .write_all(bytes)
            .map_err(|error| CommandError::stdout(&error))
    };
    let mut receiver = Receiver::new();
    archive
        .receive(&mut receiver, &mut write, &mut meter)
        .await?;
    stdout
        .flush()
        .map_err(|error| CommandError::stdout(&error))?;
    match receiver.hash() == archive.sha256 {
        true => Ok(()),
        false => Err(archive.mismatch("what was written to standard output")),
    }
}

impl<'a> Archive<'a> {
    fn of(api: &'a Api, backup: &'a FoundBackup) -> Result<Self, CommandError> {
        let attributes = &backup.attributes;
        let hash = hex::decode(text(attributes, "sha256_hash")).ok();
        let hash = hash.and_then(|bytes| bytes.try_into().ok());
        let (Some(sha256), Some(bytes)) = (hash, attributes["bytes"].as_u64()) else {
            return Err(CommandError::new(format!(
                "backup `{}` has no archive: its status is `{}`",
                text(attributes, "name"),
                text(attributes, "status")
            )));
        };
        Ok(Self {
            api,
            backup,
            bytes,
            sha256,
        })
    }

    /// Downloads what a partial file lacks, and checks its hash.
    async fn download(
        &self,
        mut partial: PartialFile,
        meter: &mut ProgressMeter,
    ) -> Result<PartialFile, CommandError> {
        let mut receiver = Receiver::new();
        partial.read(&mut |bytes| {
            receiver.add(bytes);
            let measure = Measure {
                bytes_done: receiver.length,
                bytes_total: self.bytes,
                ..Measure::default()
            };
            meter.show("reading", measure);
        })?;
        let mut write = |bytes: &[u8]| partial.write(bytes);
        self.receive(&mut receiver, &mut write, meter).await?;
        if receiver.hash() == self.sha256 {
            return Ok(partial);
        }
        let path = partial.path().display().to_string();
        partial.discard()?;
        let error = self.mismatch(&format!("`{path}`, which is removed"));
        Err(error)
    }

    /// Receives the archive from where the receiver is on. Connects again after a cut.
    async fn receive(
        &self,
        receiver: &mut Receiver,
        write: &mut dyn FnMut(&[u8]) -> Result<(), CommandError>,
        meter: &mut ProgressMeter,
    ) -> Result<(), CommandError> {
        let mut attempt = 0;
        while receiver.length < self.bytes {
            let begun_at = receiver.length;
            let cut = match self.connect(receiver, write, meter).await? {
                None if receiver.length == self.bytes => break,
                None => "the answer ended too early".to_owned(),
                Some(cut) => cut,
            };
            attempt = if receiver.length > begun_at {
                1
            } else {
                attempt + 1
            };
            let at = size(receiver.length);
            if attempt >= ATTEMPTS {
                return Err(CommandError::new(format!(
                    "the download was cut at {at}: {cut}; the same command continues it"
                )));
            }
            let wait = Duration::from_secs(1 << (attempt - 1));
            let seconds = wait.as_secs();
            meter.notice(&format!("cut at {at}: {cut}; continuing in {seconds} s"));
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// Receives bytes over one connection. Returns why it was cut, if it was.
    async fn connect(
        &self,
        receiver: &mut Receiver,
        write: &mut dyn FnMut(&[u8]) -> Result<(), CommandError>,
        meter: &mut ProgressMeter,
    ) -> Result<Option<String>, CommandError> {
        // A new link each time, since links expire.
        let cut = |failure: ApiFailure| match failure.is_passing() {
            true => Ok(Some(failure.to_string())),
            false => Err(CommandError::from(failure)),
        };
        let link = match self
            .api
            .get(&format!("{}/download", self.backup.path))
            .await
        {
            Ok(link) => link,
            Err(failure) => return cut(failure),
        };
        let link = text(&link["attributes"], "url");
        let mut response = match self.api.open_link(link, receiver.length).await {
            Ok(response) => response,
            Err(failure) => return cut(failure),
        };
        let status = response.status().as_u16();
        if status == 416 {
            return Err(CommandError::new(
                "the archive at the download link is shorter than the service says",
            ));
        }
        // An answer without a range begins at the first byte.
        let mut skip = if status == 206 { 0 } else { receiver.length };
        loop {
            let chunk = match Api::chunk(&mut response).await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(None),
                Err(why) => return Ok(Some(why)),
            };
            let skipped = chunk.len().min(usize::try_from(skip).unwrap_or(usize::MAX));
            skip -= skipped as u64;
            let bytes = &chunk[skipped..];
            if receiver.length + bytes.len() as u64 > self.bytes {
                return Err(CommandError::new(
                    "the archive at the download link is longer than the service says",
                ));
            }
            write(bytes)?;
            receiver.add(bytes);
            let measure = Measure {
                bytes_done: receiver.length,
                bytes_total: self.bytes,
                ..Measure::default()
            };
            meter.show("downloading", measure);
        }
    }

    fn mismatch(&self, what: &str) -> CommandError {
        CommandError::new(format!(
            "the SHA-256 of {what} is not the one of the backup: download it again, and verify \
             the backup with `holdfast client verify` if that does not help"
        ))
    }
}

/// The length and the hash of what has been received.
struct Receiver {
    length: u64,
    digest: Sha256,
}

impl Receiver {
    fn new() -> Self {
        Self {
            length: 0,
            digest: Sha256::new(),
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.digest.update(bytes);
    }

    fn hash(self) -> [u8; 32] {
        self.digest.finalize().into()
    }
}
