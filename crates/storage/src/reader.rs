//! Reads an object's bytes, wherever it lies.

use std::fs::File;
use std::io::Read;

use bytes::{Bytes, BytesMut};

use crate::encryption::OpenedReader;
use crate::error::Error;
use crate::gcs::GcsReader;
use crate::meter::{Meter, Operation};
use crate::s3::S3Reader;

/// The size of a piece that is read from a file.
const PIECE_BYTES: usize = 256 * 1024;

/// The bytes of an object, or of a part of it, in pieces. It ends well only after every byte that
/// was asked for and is there: a connection that is cut is made again where it was cut, and an
/// object that turns out shorter than it was is an error.
#[derive(Debug)]
pub struct ObjectReader {
    source: Source,
    meter: Option<Meter>,
}

#[derive(Debug)]
enum Source {
    Local(LocalReader),
    S3(S3Reader),
    Gcs(GcsReader),
    Opened(OpenedReader),
}

/// The bytes of a file.
#[derive(Debug)]
pub(crate) struct LocalReader {
    /// `None` while a read is under way on another thread, and after a failure.
    pub(crate) file: Option<File>,
    pub(crate) object_bytes: u64,
    pub(crate) left_bytes: u64,
    pub(crate) disk: String,
    pub(crate) object: String,
}

impl From<LocalReader> for ObjectReader {
    fn from(reader: LocalReader) -> Self {
        Self::plain(Source::Local(reader))
    }
}

impl From<S3Reader> for ObjectReader {
    fn from(reader: S3Reader) -> Self {
        Self::plain(Source::S3(reader))
    }
}

impl From<GcsReader> for ObjectReader {
    fn from(reader: GcsReader) -> Self {
        Self::plain(Source::Gcs(reader))
    }
}

impl From<OpenedReader> for ObjectReader {
    fn from(reader: OpenedReader) -> Self {
        Self::plain(Source::Opened(reader))
    }
}

impl ObjectReader {
    fn plain(source: Source) -> Self {
        Self {
            source,
            meter: None,
        }
    }

    pub(crate) fn metered(self, meter: Option<Meter>) -> Self {
        Self { meter, ..self }
    }

    /// Returns the size of the whole object in bytes.
    pub fn object_bytes(&self) -> u64 {
        match &self.source {
            Source::Local(reader) => reader.object_bytes,
            Source::S3(reader) => reader.object_bytes(),
            Source::Gcs(reader) => reader.object_bytes(),
            Source::Opened(reader) => reader.object_bytes(),
        }
    }

    /// Returns how many bytes are still to come.
    pub fn left_bytes(&self) -> u64 {
        match &self.source {
            Source::Local(reader) => reader.left_bytes,
            Source::S3(reader) => reader.left_bytes(),
            Source::Gcs(reader) => reader.left_bytes(),
            Source::Opened(reader) => reader.left_bytes(),
        }
    }

    /// Returns the next piece, never an empty one; `None` after the last.
    ///
    /// # Errors
    /// When the disk fails, or the object has less bytes than it had.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let next = self.next_piece().await;
        let Some(meter) = &self.meter else {
            return next;
        };
        if let Ok(Some(piece)) = &next {
            meter.read(piece.len());
        }
        meter.failed(Operation::Read, next)
    }

    async fn next_piece(&mut self) -> Result<Option<Bytes>, Error> {
        match &mut self.source {
            Source::Local(reader) => reader.next().await,
            Source::S3(reader) => reader.next().await,
            Source::Gcs(reader) => reader.next().await,
            Source::Opened(reader) => reader.next().await,
        }
    }
}

impl LocalReader {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if self.left_bytes == 0 {
            return Ok(None);
        }
        let failed = |source| Error::from_io(&self.disk, &self.object, source);
        let Some(mut file) = self.file.take() else {
            return Err(failed(std::io::Error::other("a read has failed before")));
        };
        let most = usize::try_from(self.left_bytes).map_or(PIECE_BYTES, |n| n.min(PIECE_BYTES));
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = BytesMut::zeroed(most);
            let length = file.read(&mut piece)?;
            piece.truncate(length);
            Ok((file, piece.freeze()))
        });
        let (file, piece) = read
            .await
            .map_err(std::io::Error::other)
            .flatten()
            .map_err(failed)?;
        if piece.is_empty() {
            let source = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
            return Err(failed(source));
        }
        self.file = Some(file);
        self.left_bytes -= piece.len() as u64;
        Ok(Some(piece))
    }
}
