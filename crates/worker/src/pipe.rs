//! Passes bytes from the archive engine, which writes on a blocking thread, to an asynchronous
//! upload: a bounded channel of chunks of one mebibyte.

use std::io::{self, Write};

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use holdfast_storage::Upload;

use crate::lease::ActiveJob;
use crate::outcome::JobError;

/// The size of a chunk. Large enough that the channel costs next to nothing.
const CHUNK_BYTES: usize = 1 << 20;
/// How many chunks the channel holds.
const QUEUED_CHUNKS_MAX: usize = 4;

/// The engine's end. Call [`PipeWriter::finish`] to send the last chunk.
#[derive(Debug)]
pub(crate) struct PipeWriter {
    sender: mpsc::Sender<Bytes>,
    chunk: BytesMut,
}

/// The upload's end.
#[derive(Debug)]
pub(crate) struct PipeReader(mpsc::Receiver<Bytes>);

/// Creates a pipe.
pub(crate) fn pipe() -> (PipeWriter, PipeReader) {
    let (sender, receiver) = mpsc::channel(QUEUED_CHUNKS_MAX);
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
        self.send()
    }

    fn send(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = self.chunk.split().freeze();
        self.sender
            .blocking_send(chunk)
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
            self.send()?;
        }
        Ok(taken)
    }

    /// Does nothing: small chunks would be slow. [`PipeWriter::finish`] sends the rest.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl PipeReader {
    /// Writes everything to `upload` until the writer is dropped, or the job is stopped.
    ///
    /// Does not finish the upload: the caller must first know that the engine has succeeded.
    ///
    /// # Errors
    /// If the upload fails or the job is stopped. The writer then fails too.
    pub(crate) async fn write_to(
        mut self,
        mut upload: Upload,
        job: &ActiveJob,
    ) -> Result<Upload, JobError> {
        let written = async {
            while let Some(chunk) = self.0.recv().await {
                upload
                    .write(chunk)
                    .await
                    .map_err(|error| JobError::disk(&error))?;
            }
            Ok(upload)
        };
        tokio::select! {
            written = written => written,
            stopped = job.stopped() => Err(stopped),
        }
    }
}
