//! Reads an archive back from its disk, whatever that is made of, without a copy, and compares it with what was
//! stored: size, SHA-256, every checksum of gzip, every tar entry, and how many of those index and manifest tell of.
//!
//! What could not be read is not judged: only a disk that is well and does not hold what it should makes a backup bad.

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

/// How many pieces of an object may wait for the engine.
const WAITING: usize = 4;

/// What reading an archive back came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchiveVerdict {
    /// It is what was stored.
    Whole {
        /// What is not as it was beside it, as a sentence.
        note: Option<String>,
    },
    /// It is damaged, or missing.
    Bad {
        /// For its owner: a sentence.
        sentence: String,
        /// For the operator: everything.
        detail: String,
    },
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It was told to stop.
    #[error("told to stop")]
    Stopped,
    /// The disk could not be read.
    #[error("the disk could not be read")]
    Disk(#[from] holdfast_storage::Error),
    /// A defect of ours.
    #[error("the archive engine failed: {0}")]
    Engine(String),
}

/// How an archive is read back.
#[derive(Debug)]
pub struct ArchiveCheck<'a> {
    /// Where it lies.
    pub disk: &'a Disk,
    /// What it is.
    pub key: ArchiveKey,
    /// What was stored.
    pub completed: &'a CompletedBackup,
    /// Counts bytes of the archive, and stops the engine.
    pub control: &'a Arc<Control>,
    /// Stops the reading.
    pub stop: &'a CancellationToken,
    /// How fast it is read, in bytes per second; none: as fast as it comes.
    pub read_limit_bytes_per_second: Option<NonZeroU64>,
}

impl ArchiveCheck<'_> {
    /// Reads everything back.
    ///
    /// # Errors
    /// [`VerifyError`]: nothing is known then.
    pub async fn run(&self) -> Result<ArchiveVerdict, VerifyError> {
        let archive = self.archive().await?;
        let verified = match archive {
            Ok(verified) => verified,
            Err(bad) => return Ok(bad),
        };
        let beside = [
            self.index(&verified).await?,
            self.manifest(&verified).await?,
        ];
        let mut notes = Vec::new();
        for part in beside {
            match part {
                Beside::AsItWas => {}
                Beside::Note(note) => notes.push(note),
                Beside::Contradicts(what) => {
                    let found = verified.entries;
                    return Ok(ArchiveVerdict::Bad {
                        sentence: "The stored archive does not hold what was backed up.".to_owned(),
                        detail: format!("it holds {found} entries, but {what}"),
                    });
                }
            }
        }
        let note = (!notes.is_empty())
            .then(|| format!("The archive is whole, but {}.", notes.join(", and ")));
        Ok(ArchiveVerdict::Whole { note })
    }

    async fn archive(&self) -> Result<Result<VerifySummary, ArchiveVerdict>, VerifyError> {
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
            Err(VerifyError::Disk(error)) => return self.unread(error).await.map(Err),
            Err(other) => return Err(other),
        };
        use holdfast_archive::Error;
        match read {
            Ok(verified) => Ok(Ok(verified)),
            Err(Error::Cancelled) => Err(VerifyError::Stopped),
            Err(
                error
                @ (Error::HashMismatch { .. } | Error::Corrupt { .. } | Error::Hostile { .. }),
            ) => Ok(Err(ArchiveVerdict::Bad {
                sentence: "The stored archive is damaged: it is not what was backed up.".to_owned(),
                detail: chain(&error),
            })),
            Err(error) => Err(VerifyError::Engine(chain(&error))),
        }
    }

    /// Tells an archive that is bad from a disk that is away.
    async fn unread(&self, error: holdfast_storage::Error) -> Result<ArchiveVerdict, VerifyError> {
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
        Ok(ArchiveVerdict::Bad {
            sentence,
            detail: chain(&error),
        })
    }

    async fn index(&self, archive: &VerifySummary) -> Result<Beside, VerifyError> {
        let read = self
            .stream(StorageKey::Index(self.key), |stream, _| {
                holdfast_archive::check_index(stream)
            })
            .await;
        let checked = match absent("its index", read)? {
            Ok(Ok(checked)) => checked,
            Ok(Err(_)) => return Ok(Beside::Note("its index is damaged".to_owned())),
            Err(note) => return Ok(note),
        };
        if checked.archive_sha256 != archive.sha256 {
            return Ok(Beside::Note(
                "its index is that of another archive".to_owned(),
            ));
        }
        let entries = checked.entries;
        Ok(match entries == archive.entries {
            true => Beside::AsItWas,
            false => Beside::Contradicts(format!("its index tells of {entries}")),
        })
    }

    async fn manifest(&self, archive: &VerifySummary) -> Result<Beside, VerifyError> {
        let read = self
            .stream(StorageKey::Manifest(self.key), |stream, _| {
                let mut text = Vec::new();
                let read = stream.take(Manifest::BYTES_MAX).read_to_end(&mut text);
                read.ok().and_then(|_| Manifest::from_json(&text).ok())
            })
            .await;
        let manifest = match absent("its manifest", read)? {
            Ok(Some(manifest)) => manifest,
            Ok(None) => return Ok(Beside::Note("its manifest is damaged".to_owned())),
            Err(note) => return Ok(note),
        };
        if manifest.sha256 != hex::encode(archive.sha256) || manifest.backup != self.key.backup {
            return Ok(Beside::Note(
                "its manifest is that of another archive".to_owned(),
            ));
        }
        let entries = manifest.entries;
        Ok(match entries == archive.entries {
            true => Beside::AsItWas,
            false => Beside::Contradicts(format!("its manifest tells of {entries}")),
        })
    }

    /// Carries an object from its disk to `read`, which runs on a thread that may wait, piece by piece.
    async fn stream<T: Send + 'static>(
        &self,
        key: StorageKey,
        read: impl FnOnce(Stream, u64) -> T + Send + 'static,
    ) -> Result<T, VerifyError> {
        let opened = tokio::select! {
            opened = self.disk.read(key, 0..u64::MAX) => opened?,
            () = self.stop.cancelled() => return Err(VerifyError::Stopped),
        };
        let size = opened.object_bytes();
        let (pieces, waiting) = mpsc::channel(WAITING);
        let stream = Stream {
            waiting,
            piece: Bytes::new(),
            has_ended: false,
        };
        let reading = tokio::task::spawn_blocking(move || read(stream, size));
        let (carried, ended) = tokio::join!(self.carry(opened, pieces), reading);
        // A disk that failed is the reason why the engine failed.
        carried?;
        ended.map_err(|error| VerifyError::Engine(error.to_string()))
    }

    async fn carry(
        &self,
        mut reader: holdfast_storage::ObjectReader,
        pieces: mpsc::Sender<Option<Bytes>>,
    ) -> Result<(), VerifyError> {
        let begun = Instant::now();
        let mut read_bytes: u64 = 0;
        let carried = async {
            loop {
                let piece = reader.next().await?;
                let is_last = piece.is_none();
                read_bytes += piece.as_ref().map_or(0, |piece| piece.len() as u64);
                // Whoever does not listen any more has seen enough.
                if pieces.send(piece).await.is_err() || is_last {
                    return Ok::<(), VerifyError>(());
                }
                if let Some(limit) = self.read_limit_bytes_per_second {
                    let due_ms = u128::from(read_bytes) * 1000 / u128::from(limit.get());
                    let due = Duration::from_millis(u64::try_from(due_ms).unwrap_or(u64::MAX));
                    tokio::time::sleep_until(begun + due).await;
                }
            }
        };
        tokio::select! {
            carried = carried => carried,
            () = self.stop.cancelled() => Err(VerifyError::Stopped),
        }
    }
}

/// What lies beside an archive.
enum Beside {
    AsItWas,
    /// Not as it was, though nothing is lost.
    Note(String),
    /// Sound, but it tells of another number of entries.
    Contradicts(String),
}

/// Tells a part that is missing or damaged from a disk that is away.
fn absent<T>(what: &str, read: Result<T, VerifyError>) -> Result<Result<T, Beside>, VerifyError> {
    use holdfast_storage::Error;
    match read {
        Ok(read) => Ok(Ok(read)),
        Err(VerifyError::Disk(Error::NotFound { .. })) => {
            Ok(Err(Beside::Note(format!("{what} is missing"))))
        }
        Err(VerifyError::Disk(Error::Damaged { .. })) => {
            Ok(Err(Beside::Note(format!("{what} is damaged"))))
        }
        Err(other) => Err(other),
    }
}

/// An object's bytes as the engine reads them. Only for threads that may wait.
#[derive(Debug)]
struct Stream {
    /// None is the end; an end without it is a failure.
    waiting: mpsc::Receiver<Option<Bytes>>,
    piece: Bytes,
    has_ended: bool,
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            if self.has_ended {
                return Ok(0);
            }
            match self.waiting.blocking_recv() {
                Some(Some(piece)) => self.piece = piece,
                Some(None) => self.has_ended = true,
                None => return Err(io::Error::other("the disk has failed")),
            }
        }
        let length = into.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut into[..length]);
        Ok(length)
    }
}
