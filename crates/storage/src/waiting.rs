//! A reader for code that waits for its bytes, such as the archive engine on a thread of its own.

use std::io::{self, Read};

use bytes::{Buf as _, Bytes};
use tokio::sync::mpsc;

use crate::error::Error;
use crate::reader::ObjectReader;

/// How many pieces may wait for whoever reads them.
const WAITING: usize = 2;

/// An object's bytes, as [`ObjectReader`] has them, for threads that may wait. A disk that fails is an [`io::Error`]
/// around the [`Error`].
#[derive(Debug)]
pub struct BlockingReader {
    /// None is the end; an end without it is a failure.
    pieces: mpsc::Receiver<Result<Option<Bytes>, Error>>,
    piece: Bytes,
    has_ended: bool,
}

impl ObjectReader {
    /// Carries the bytes to a thread that may wait for them; must be called where tokio runs. Once what is returned
    /// is dropped, nothing more is read.
    pub fn waiting(mut self) -> BlockingReader {
        let (send, pieces) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            loop {
                let piece = self.next().await;
                let is_last = !matches!(piece, Ok(Some(_)));
                if send.send(piece).await.is_err() || is_last {
                    return;
                }
            }
        });
        BlockingReader {
            pieces,
            piece: Bytes::new(),
            has_ended: false,
        }
    }
}

impl Read for BlockingReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            if self.has_ended {
                return Ok(0);
            }
            match self.pieces.blocking_recv() {
                Some(Ok(Some(piece))) => self.piece = piece,
                Some(Ok(None)) => self.has_ended = true,
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Err(io::Error::other("nobody reads the disk any more")),
            }
        }
        let length = into.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut into[..length]);
        Ok(length)
    }
}
