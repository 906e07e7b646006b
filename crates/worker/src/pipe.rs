//! Passes the pieces of an archive from the archive engine, which writes on a blocking thread, to
//! an asynchronous upload: a bounded channel of pieces of about a mebibyte.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use holdfast_archive::{ArchiveOutput, FileOutput};
use holdfast_domain::error_chain::chain;
use holdfast_storage::{StorageKey, Upload};

use crate::lease::ActiveJob;
use crate::outcome::JobError;

/// The size of a chunk. Large enough that the channel costs next to nothing.
const CHUNK_BYTES: usize = 1 << 20;
/// How many pieces the channel holds.
const QUEUED_PIECES_MAX: usize = 4;
/// How many bytes of the previous archive are copied at once. Whole pages, so that they can be
/// shared.
const COPY_BYTES: u64 = 64 << 20;

/// A piece of an object.
#[derive(Debug)]
enum Piece {
    Bytes(Bytes),
    /// The start of the previous archive, with its CRC-32.
    Front {
        length: u64,
        crc: u32,
    },
    /// Bytes that the previous archive has at `offset`.
    Old {
        offset: u64,
        bytes: Bytes,
    },
}

/// The engine's end. Call [`PipeWriter::finish`] to send the last chunk.
#[derive(Debug)]
pub(crate) struct PipeWriter {
    sender: mpsc::Sender<Piece>,
    chunk: BytesMut,
}

/// The upload's end.
#[derive(Debug)]
pub(crate) struct PipeReader(mpsc::Receiver<Piece>);

/// Creates a pipe.
pub(crate) fn pipe() -> (PipeWriter, PipeReader) {
    let (sender, receiver) = mpsc::channel(QUEUED_PIECES_MAX);
    (
        PipeWriter {
            sender,
            chunk: BytesMut::new(),
        },
        PipeReader(receiver),
    )
}

impl PipeWriter {
    /// Sends the last chunk. Blocks the thread.
    ///
    /// # Errors
    /// If the upload has failed. The upload has the cause.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.send_chunk()
    }

    fn send_chunk(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = self.chunk.split().freeze();
        self.send(Piece::Bytes(chunk))
    }

    fn send(&self, piece: Piece) -> io::Result<()> {
        self.sender
            .blocking_send(piece)
            .map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the upload has failed"))
    }
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.capacity() == 0 {
            self.chunk.reserve(CHUNK_BYTES);
        }
        let taken = bytes.len().min(CHUNK_BYTES - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        if self.chunk.len() == CHUNK_BYTES {
            self.send_chunk()?;
        }
        Ok(taken)
    }

    /// Does nothing: small chunks would be slow. [`PipeWriter::finish`] sends the rest.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where an upload can take bytes of the previous archive from.
#[derive(Clone, Debug, Default)]
pub(crate) enum OldBytes {
    /// There is no previous archive, or the disk copies nothing.
    #[default]
    None,
    /// A file on the upload's disk.
    File(Arc<File>),
    /// An object in the upload's bucket, of which the server copies the front.
    Object(StorageKey),
}

/// The output of the archive engine to a pipe.
pub(crate) struct ArchivePipe<'a> {
    writer: &'a mut PipeWriter,
    old: OldBytes,
    page_bytes: Option<u64>,
}

impl<'a> ArchivePipe<'a> {
    pub(crate) fn new(writer: &'a mut PipeWriter, old: OldBytes) -> Self {
        let page_bytes = match &old {
            // The new archive is beside it.
            OldBytes::File(previous) => FileOutput::new(previous, previous).page_bytes(),
            OldBytes::None | OldBytes::Object(_) => None,
        };
        Self {
            writer,
            old,
            page_bytes,
        }
    }
}

impl ArchiveOutput for ArchivePipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    fn takes_front(&self) -> bool {
        !matches!(self.old, OldBytes::None)
    }

    fn checks_front(&self) -> bool {
        matches!(self.old, OldBytes::Object(_))
    }

    fn take_front(&mut self, length: u64, crc: u32) -> io::Result<()> {
        self.writer.send(Piece::Front { length, crc })
    }

    fn page_bytes(&self) -> Option<u64> {
        self.page_bytes
    }

    fn take(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.page_bytes.is_none() {
            return self.write(bytes);
        }
        self.writer.send_chunk()?;
        let bytes = Bytes::copy_from_slice(bytes);
        self.writer.send(Piece::Old { offset, bytes })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Why an upload could not be written.
#[derive(Debug)]
pub(crate) enum WriteFailure {
    /// The job fails.
    Job(JobError),
    /// Bytes of the previous archive could not be taken over. Without it, the job may succeed.
    Previous {
        /// What the operator reads in the log.
        reason: String,
        /// Whether the archive may be missing or damaged.
        is_damaged: bool,
    },
}

impl From<JobError> for WriteFailure {
    fn from(error: JobError) -> Self {
        Self::Job(error)
    }
}

/// An upload to which everything was written.
#[derive(Debug)]
pub(crate) struct WrittenUpload {
    pub(crate) upload: Upload,
    /// Bytes that it shares with the previous archive, so that they take no space.
    pub(crate) shared_bytes: u64,
}

impl PipeReader {
    /// Writes everything to `upload` until the writer is dropped, or the job is stopped. `old` is
    /// that of the writer.
    ///
    /// Does not finish the upload: the caller must first know that the engine has succeeded.
    ///
    /// # Errors
    /// If the upload fails or the job is stopped. The writer then fails too.
    pub(crate) async fn write_to(
        mut self,
        upload: Upload,
        old: &OldBytes,
        job: &ActiveJob,
    ) -> Result<WrittenUpload, WriteFailure> {
        let mut written = WrittenUpload {
            upload,
            shared_bytes: 0,
        };
        let all = async {
            while let Some(piece) = self.0.recv().await {
                written.add(piece, old).await?;
            }
            Ok(written)
        };
        tokio::select! {
            written = all => written,
            stopped = job.stopped() => Err(stopped.into()),
        }
    }
}

impl WrittenUpload {
    async fn add(&mut self, piece: Piece, old: &OldBytes) -> Result<(), WriteFailure> {
        match (piece, old) {
            (Piece::Bytes(chunk), _) => self.write(chunk).await,
            (Piece::Front { length, .. }, OldBytes::File(previous)) => {
                for offset in (0..length).step_by(usize::try_from(COPY_BYTES).unwrap_or(1)) {
                    let now = COPY_BYTES.min(length - offset);
                    let copy = move |output: &mut FileOutput<'_>| output.copy(offset, now);
                    self.take(now, previous, copy).await?;
                }
                Ok(())
            }
            (Piece::Front { length, crc }, OldBytes::Object(key)) => {
                let copied = self.upload.copy_front(*key, length, crc).await;
                copied.map_err(|error| match error {
                    holdfast_storage::Error::CopyFailed { is_object_bad, .. } => {
                        WriteFailure::Previous {
                            reason: chain(&error),
                            is_damaged: is_object_bad,
                        }
                    }
                    _ => JobError::disk(&error).into(),
                })
            }
            (Piece::Old { offset, bytes }, OldBytes::File(previous)) => {
                let length = bytes.len() as u64;
                let take = move |output: &mut FileOutput<'_>| output.take(offset, &bytes);
                self.take(length, previous, take).await
            }
            (Piece::Old { bytes, .. }, OldBytes::None | OldBytes::Object(_)) => {
                self.write(bytes).await
            }
            (Piece::Front { .. }, OldBytes::None) => Err(WriteFailure::Previous {
                reason: "the disk cannot copy a part of an archive".to_owned(),
                is_damaged: false,
            }),
        }
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), WriteFailure> {
        let written = self.upload.write(chunk).await;
        written.map_err(|error| JobError::disk(&error).into())
    }

    /// Takes `length` bytes over from a file on the same disk.
    async fn take(
        &mut self,
        length: u64,
        previous: &Arc<File>,
        work: impl FnOnce(&mut FileOutput<'_>) -> io::Result<()> + Send + 'static,
    ) -> Result<(), WriteFailure> {
        let previous = Arc::clone(previous);
        let write = move |file: &File, at: u64| {
            let mut output = FileOutput::new(file, &previous).after(at);
            work(&mut output)?;
            Ok(output.shared_bytes())
        };
        let shared = self.upload.write_file(length, write).await;
        self.shared_bytes += shared.map_err(|error| previous_failure(&error))?;
        Ok(())
    }
}

/// Maps an error of taking bytes of a file over. Except on a full disk, the previous archive may be
/// the reason, and another attempt without it finds out.
fn previous_failure(error: &holdfast_storage::Error) -> WriteFailure {
    match error {
        holdfast_storage::Error::Full { .. } => JobError::disk(error).into(),
        _ => WriteFailure::Previous {
            reason: chain(error),
            is_damaged: true,
        },
    }
}
