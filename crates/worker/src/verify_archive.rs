//! Verifies an archive on any disk, without a local copy. Checks the size, the SHA-256, the
//! checksums of gzip, the tar entries, and that index and manifest give the same number of entries.
//!
//! If the disk can't be read, the result must be an error, not a verdict. Only a disk that works
//! and does not return what was stored makes an archive damaged.

use std::io::{self, Read};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use holdfast_archive::{Control, Expected, VerifySummary};
use holdfast_domain::backup::CompletedBackup;
use holdfast_domain::error_chain::chain;
use holdfast_storage::{ArchiveKey, Disk, Manifest, StorageKey};

use crate::priority::Priority;

/// How many chunks of an object may wait for the archive engine.
const QUEUED_CHUNKS_MAX: usize = 4;

/// The result of a verification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchiveVerdict {
    /// The archive is what was stored.
    Intact {
        /// A sentence about a missing or damaged index or manifest.
        note: Option<String>,
    },
    /// The archive is damaged or missing.
    Damaged {
        /// A sentence for users.
        sentence: String,
        /// The details for the log.
        detail: String,
    },
}

/// Why a verification has no result.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The verification was stopped.
    #[error("the verification was stopped")]
    Stopped,
    /// The disk could not be read.
    #[error("the disk could not be read")]
    Disk(#[from] holdfast_storage::Error),
    /// The archive engine failed unexpectedly: a bug.
    #[error("the archive engine failed: {0}")]
    Engine(String),
}

/// The archive to verify, and the options.
#[derive(Debug)]
pub struct ArchiveCheck<'a> {
    /// The disk that holds the archive.
    pub disk: &'a Disk,
    /// The archive's key.
    pub key: ArchiveKey,
    /// The size and hash that were stored.
    pub completed: &'a CompletedBackup,
    /// Counts the bytes read, and stops the archive engine.
    pub control: &'a Arc<Control>,
    /// Stops reading from the disk.
    pub stop: &'a CancellationToken,
    /// The maximum rate of reading, in bytes per second; `None` means no limit.
    pub read_limit_bytes_per_second: Option<NonZeroU64>,
    /// The priority of the thread that checks the archive.
    pub priority: Priority,
}

impl ArchiveCheck<'_> {
    /// Reads and checks the archive, then its index and its manifest.
    ///
    /// # Errors
    /// [`VerifyError`] if the archive could not be checked.
    pub async fn run(&self) -> Result<ArchiveVerdict, VerifyError> {
        let verified = match self.check_archive().await? {
            Ok(verified) => verified,
            Err(damaged) => return Ok(damaged),
        };
        let checks = [
            self.check_index(&verified).await?,
            self.check_manifest(&verified).await?,
        ];
        let mut notes = Vec::new();
        for check in checks {
            match check {
                SidecarCheck::Matches => {}
                SidecarCheck::Note(note) => notes.push(note),
                SidecarCheck::Contradicts(what) => {
                    let found = verified.entries;
                    return Ok(ArchiveVerdict::Damaged {
                        sentence: "The stored archive does not contain what was backed up."
                            .to_owned(),
                        detail: format!("it contains {found} entries, but {what}"),
                    });
                }
            }
        }
        let note = (!notes.is_empty())
            .then(|| format!("The archive is whole, but {}.", notes.join(", and ")));
        Ok(ArchiveVerdict::Intact { note })
    }

    /// Checks the archive itself. The inner error is the verdict about a damaged or missing
    /// archive.
    async fn check_archive(&self) -> Result<Result<VerifySummary, ArchiveVerdict>, VerifyError> {
        let expected = Expected {
            sha256: self.completed.sha256,
            archive_bytes: self.completed.size_bytes,
        };
        let control = Arc::clone(self.control);
        let read = self
            .stream(StorageKey::Archive(self.key), move |stream, size| {
                holdfast_archive::verify_stream(stream, size, Some(&expected), &control)
            })
            .await;
        let read = match read {
            Ok(read) => read,
            Err(VerifyError::Disk(error)) => return self.explain_read_error(error).await.map(Err),
            Err(other) => return Err(other),
        };
        use holdfast_archive::Error;
        match read {
            Ok(verified) => Ok(Ok(verified)),
            Err(Error::Cancelled) => Err(VerifyError::Stopped),
            Err(
                error @ (Error::HashMismatch { .. }
                | Error::Corrupt { .. }
                | Error::Hostile { .. }
                | Error::OtherFormat { .. }),
            ) => Ok(Err(ArchiveVerdict::Damaged {
                sentence: "The stored archive is damaged: it is not what was backed up.".to_owned(),
                detail: chain(&error),
            })),
            Err(error) => Err(VerifyError::Engine(chain(&error))),
        }
    }

    /// Decides whether a read error means a damaged archive or an unavailable disk.
    async fn explain_read_error(
        &self,
        error: holdfast_storage::Error,
    ) -> Result<ArchiveVerdict, VerifyError> {
        use holdfast_storage::Error;
        let sentence = match &error {
            Error::NotFound { .. } => "The stored archive is missing.".to_owned(),
            Error::Damaged { .. } => {
                "The stored archive is damaged: it is not what was backed up.".to_owned()
            }
            error if error.is_unreadable() && self.disk.check().await.is_ok() => {
                "The stored archive can no longer be read.".to_owned()
            }
            _ => return Err(error.into()),
        };
        Ok(ArchiveVerdict::Damaged {
            sentence,
            detail: chain(&error),
        })
    }

    async fn check_index(&self, archive: &VerifySummary) -> Result<SidecarCheck, VerifyError> {
        let read = self
            .stream(StorageKey::Index(self.key), |stream, _| {
                holdfast_archive::check_index(stream)
            })
            .await;
        let checked = match note_if_missing("its index", read)? {
            Ok(Ok(checked)) => checked,
            Ok(Err(_)) => return Ok(SidecarCheck::Note("its index is damaged".to_owned())),
            Err(note) => return Ok(note),
        };
        if checked.archive_sha256 != archive.sha256 {
            return Ok(SidecarCheck::Note(
                "its index is that of another archive".to_owned(),
            ));
        }
        let entries = checked.entries;
        Ok(match entries == archive.entries {
            true => SidecarCheck::Matches,
            false => SidecarCheck::Contradicts(format!("its index counts {entries}")),
        })
    }

    async fn check_manifest(&self, archive: &VerifySummary) -> Result<SidecarCheck, VerifyError> {
        let read = self
            .stream(StorageKey::Manifest(self.key), |stream, _| {
                let mut text = Vec::new();
                let read = stream.take(Manifest::BYTES_MAX).read_to_end(&mut text);
                read.ok().and_then(|_| Manifest::from_json(&text).ok())
            })
            .await;
        let manifest = match note_if_missing("its manifest", read)? {
            Ok(Some(manifest)) => manifest,
            Ok(None) => return Ok(SidecarCheck::Note("its manifest is damaged".to_owned())),
            Err(note) => return Ok(note),
        };
        if manifest.sha256 != hex::encode(archive.sha256) || manifest.backup != self.key.backup {
            return Ok(SidecarCheck::Note(
                "its manifest is that of another archive".to_owned(),
            ));
        }
        let entries = manifest.entries;
        Ok(match entries == archive.entries {
            true => SidecarCheck::Matches,
            false => SidecarCheck::Contradicts(format!("its manifest counts {entries}")),
        })
    }

    /// Reads an object from the disk in chunks and passes them to `read`, which runs on a blocking
    /// thread.
    async fn stream<T: Send + 'static>(
        &self,
        key: StorageKey,
        read: impl FnOnce(ObjectStream, u64) -> T + Send + 'static,
    ) -> Result<T, VerifyError> {
        let opened = tokio::select! {
            opened = self.disk.read(key, 0..u64::MAX) => opened?,
            () = self.stop.cancelled() => return Err(VerifyError::Stopped),
        };
        let size = opened.object_bytes();
        let (chunks, queue) = mpsc::channel(QUEUED_CHUNKS_MAX);
        let stream = ObjectStream {
            queue,
            chunk: Bytes::new(),
            has_ended: false,
        };
        let priority = self.priority;
        let reading = tokio::task::spawn_blocking(move || priority.run(move || read(stream, size)));
        let (sent, ended) = tokio::join!(self.send_chunks(opened, chunks), reading);
        // If the disk failed, the engine failed because of it. Report the disk's error first.
        sent?;
        let ended = ended.map_err(|error| VerifyError::Engine(error.to_string()))?;
        ended.map_err(|error| VerifyError::Engine(error.to_string()))
    }

    async fn send_chunks(
        &self,
        mut reader: holdfast_storage::ObjectReader,
        chunks: mpsc::Sender<Option<Bytes>>,
    ) -> Result<(), VerifyError> {
        let started_at = Instant::now();
        let mut read_bytes: u64 = 0;
        let sent = async {
            loop {
                let chunk = reader.next().await?;
                let is_last = chunk.is_none();
                read_bytes += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
                // If the receiver is dropped, the engine has ended early.
                if chunks.send(chunk).await.is_err() || is_last {
                    return Ok::<(), VerifyError>(());
                }
                if let Some(limit) = self.read_limit_bytes_per_second {
                    let due_ms = u128::from(read_bytes) * 1000 / u128::from(limit.get());
                    let due = Duration::from_millis(u64::try_from(due_ms).unwrap_or(u64::MAX));
                    tokio::time::sleep_until(started_at + due).await;
                }
            }
        };
        tokio::select! {
            sent = sent => sent,
            () = self.stop.cancelled() => Err(VerifyError::Stopped),
        }
    }
}

/// The check of an archive's index or manifest.
enum SidecarCheck {
    Matches,
    /// It is missing or damaged, which loses no data.
    Note(String),
    /// It is intact, but gives another number of entries.
    Contradicts(String),
}

/// Turns a missing or damaged object into a note. Other errors are returned.
fn note_if_missing<T>(
    what: &str,
    read: Result<T, VerifyError>,
) -> Result<Result<T, SidecarCheck>, VerifyError> {
    use holdfast_storage::Error;
    match read {
        Ok(read) => Ok(Ok(read)),
        Err(VerifyError::Disk(Error::NotFound { .. })) => {
            Ok(Err(SidecarCheck::Note(format!("{what} is missing"))))
        }
        Err(VerifyError::Disk(Error::Damaged { .. })) => {
            Ok(Err(SidecarCheck::Note(format!("{what} is damaged"))))
        }
        Err(other) => Err(other),
    }
}

/// Reads an object's chunks from a channel. Blocks the thread.
#[derive(Debug)]
struct ObjectStream {
    /// `None` marks the end. If the channel closes without it, the disk has failed.
    queue: mpsc::Receiver<Option<Bytes>>,
    chunk: Bytes,
    has_ended: bool,
}

impl Read for ObjectStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            if self.has_ended {
                return Ok(0);
            }
            match self.queue.blocking_recv() {
                Some(Some(chunk)) => self.chunk = chunk,
                Some(None) => self.has_ended = true,
                None => return Err(io::Error::other("the disk has failed")),
            }
        }
        let length = into.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut into[..length]);
        Ok(length)
    }
}
