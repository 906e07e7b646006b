//! From the archive engine's thread, which writes, to a disk's upload, which is
//! asynchronous: a bounded channel of pieces of one mebibyte.

use std::io::{self, Write};

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use holdfast_storage::Upload;

use crate::lease::Work;
use crate::outcome::NotDone;

/// The size of a piece. Large enough that handing it over costs nothing.
const PIECE_BYTES: usize = 1 << 20;
/// How many pieces may wait: enough to even out, little enough to be bounded.
const WAITING: usize = 4;

/// The engine's end. What was written is on its way only after [`PipeWriter::finish`].
#[derive(Debug)]
pub(crate) struct PipeWriter {
    sender: mpsc::Sender<Bytes>,
    piece: BytesMut,
}

/// The upload's end.
#[derive(Debug)]
pub(crate) struct PipeReader(mpsc::Receiver<Bytes>);

/// Makes a pipe.
pub(crate) fn pipe() -> (PipeWriter, PipeReader) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (
        PipeWriter {
            sender,
            piece: BytesMut::new(),
        },
        PipeReader(receiver),
    )
}

impl PipeWriter {
    /// Sends what is left. To be called on a blocking thread.
    ///
    /// # Errors
    /// When the upload has failed; why, the upload says.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.send()
    }

    fn send(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = self.piece.split().freeze();
        self.sender
            .blocking_send(piece)
            .map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the upload has failed"))
    }
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.capacity() == 0 {
            self.piece.reserve(PIECE_BYTES);
        }
        let taken = bytes.len().min(PIECE_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE_BYTES {
            self.send()?;
        }
        Ok(taken)
    }

    /// Does nothing: small pieces would cost more than they gain, and [`PipeWriter::finish`] is what counts.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl PipeReader {
    /// Carries everything to `upload`, until the writer's end is dropped. It does not finish the
    /// upload: only who knows that the engine ended well may do so. It stops when the work is to
    /// stop, however long a disk that is away may be tried.
    ///
    /// # Errors
    /// The upload's, or that the work is to stop; the writer's end then fails too.
    pub(crate) async fn carry(
        mut self,
        mut upload: Upload,
        work: &Work,
    ) -> Result<Upload, NotDone> {
        let carried = async {
            while let Some(piece) = self.0.recv().await {
                upload
                    .write(piece)
                    .await
                    .map_err(|error| NotDone::disk(&error))?;
            }
            Ok(upload)
        };
        tokio::select! {
            carried = carried => carried,
            stopped = work.stopped() => Err(stopped),
        }
    }
}
