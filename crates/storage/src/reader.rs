//! Reads an object from any kind of disk, decrypted.

use bytes::Bytes;

use crate::backend::BackendReader;
use crate::encryption::{DecryptedObject, DecryptingReader};
use crate::error::Error;
use crate::metrics::{DiskMetrics, Operation};

/// The bytes of an object or of a range of it, in chunks.
///
/// It ends without an error only after the last byte of the range. It resumes after a lost
/// connection. An object that became shorter is an error.
#[derive(Debug)]
pub struct ObjectReader {
    source: Source,
    metrics: Option<DiskMetrics>,
}

#[derive(Debug)]
enum Source {
    Plain(BackendReader),
    Decrypting(DecryptingReader),
}

impl From<BackendReader> for ObjectReader {
    fn from(reader: BackendReader) -> Self {
        Self {
            source: Source::Plain(reader),
            metrics: None,
        }
    }
}

impl From<DecryptedObject> for ObjectReader {
    fn from(object: DecryptedObject) -> Self {
        match object {
            DecryptedObject::Plain(reader) => reader.into(),
            DecryptedObject::Decrypting(reader) => Self {
                source: Source::Decrypting(reader),
                metrics: None,
            },
        }
    }
}

impl ObjectReader {
    pub(crate) fn with_metrics(self, metrics: Option<DiskMetrics>) -> Self {
        Self { metrics, ..self }
    }

    /// Returns the size of the whole object, in bytes.
    pub fn object_bytes(&self) -> u64 {
        match &self.source {
            Source::Plain(reader) => reader.object_bytes(),
            Source::Decrypting(reader) => reader.object_bytes(),
        }
    }

    /// Returns the number of bytes still to be read.
    pub fn left_bytes(&self) -> u64 {
        match &self.source {
            Source::Plain(reader) => reader.left_bytes(),
            Source::Decrypting(reader) => reader.left_bytes(),
        }
    }

    /// Returns the next chunk, which is never empty, or `None` at the end.
    ///
    /// # Errors
    /// If the disk fails, or the object became shorter.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let next = match &mut self.source {
            Source::Plain(reader) => reader.next().await,
            Source::Decrypting(reader) => reader.next().await,
        };
        let Some(metrics) = &self.metrics else {
            return next;
        };
        if let Ok(Some(chunk)) = &next {
            metrics.add_read_bytes(chunk.len() as u64);
        }
        metrics.count_error(Operation::Read, next)
    }
}
