//! A blocking reader of an object, for the archive engine, which runs on its own thread.

use std::io::{self, Read};

use bytes::{Buf as _, Bytes};
use tokio::sync::mpsc;

use crate::error::Error;
use crate::reader::ObjectReader;

/// The number of chunks that are read ahead.
const CHUNKS_AHEAD: usize = 2;

/// The bytes of an [`ObjectReader`], for a thread that may block. If the disk fails, `read` returns
/// an [`io::Error`] with the [`Error`] as its source.
#[derive(Debug)]
pub struct BlockingReader {
    /// `Ok(None)` is the end of the object. A closed channel without it is a failure.
    chunks: mpsc::Receiver<Result<Option<Bytes>, Error>>,
    chunk: Bytes,
    is_at_end: bool,
}

impl ObjectReader {
    /// Returns a blocking reader of the same bytes. A tokio task reads ahead, until the blocking
    /// reader is dropped.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn into_blocking(mut self) -> BlockingReader {
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        tokio::spawn(async move {
            loop {
                let chunk = self.next().await;
                let is_last = !matches!(chunk, Ok(Some(_)));
                if sender.send(chunk).await.is_err() || is_last {
                    return;
                }
            }
        });
        BlockingReader {
            chunks,
            chunk: Bytes::new(),
            is_at_end: false,
        }
    }
}

impl Read for BlockingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            if self.is_at_end {
                return Ok(0);
            }
            match self.chunks.blocking_recv() {
                Some(Ok(Some(chunk))) => self.chunk = chunk,
                Some(Ok(None)) => self.is_at_end = true,
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Err(io::Error::other("the task that reads the disk has ended")),
            }
        }
        let length = buffer.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
