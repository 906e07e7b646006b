//! An object on its way to a disk.

use std::fmt;
use std::io;

use bytes::Bytes;

use crate::encryption::{Encryption, Seal};
use crate::error::Error;
use crate::gcs::GcsUpload;
use crate::key::StorageKey;
use crate::local::LocalUpload;
use crate::meter::{Meter, Operation};
use crate::s3::S3Upload;

/// An object on its way to a disk: not visible, and gone when dropped. One whose
/// [`finish`](Upload::finish) is dropped half-way may have become visible.
#[derive(Debug)]
pub struct Upload {
    to: To,
    sealing: Option<Sealing>,
    meter: Option<Meter>,
}

#[derive(Debug)]
enum To {
    Local(LocalUpload),
    S3(S3Upload),
    Gcs(GcsUpload),
}

/// How the object is encrypted.
struct Sealing {
    seal: Seal,
    disk: String,
    key: StorageKey,
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealing({})", self.key)
    }
}

impl From<LocalUpload> for Upload {
    fn from(upload: LocalUpload) -> Self {
        Self::plain(To::Local(upload))
    }
}

impl From<S3Upload> for Upload {
    fn from(upload: S3Upload) -> Self {
        Self::plain(To::S3(upload))
    }
}

impl From<GcsUpload> for Upload {
    fn from(upload: GcsUpload) -> Self {
        Self::plain(To::Gcs(upload))
    }
}

impl Upload {
    fn plain(to: To) -> Self {
        Self {
            to,
            sealing: None,
            meter: None,
        }
    }

    /// The same upload, encrypted on the way.
    pub(crate) fn sealed(self, keys: &Encryption, disk: &str, key: StorageKey) -> io::Result<Self> {
        let sealing = Some(Sealing {
            seal: Seal::begin(keys)?,
            disk: disk.to_owned(),
            key,
        });
        Ok(Self { sealing, ..self })
    }

    pub(crate) fn metered(self, meter: Option<Meter>) -> Self {
        Self { meter, ..self }
    }

    /// Adds bytes to the end.
    ///
    /// # Errors
    /// When the disk is full, refuses or fails; the upload is then of no more use.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        let bytes = chunk.len();
        let written = self.seal_and_write(chunk).await;
        let Some(meter) = &self.meter else {
            return written;
        };
        meter.written(bytes);
        meter.failed(Operation::Upload, written)
    }

    async fn seal_and_write(&mut self, chunk: Bytes) -> Result<(), Error> {
        let Some(sealing) = &mut self.sealing else {
            return self.to.write(chunk).await;
        };
        let sealed = sealing.seal.seal(&chunk);
        let sealed = sealed.map_err(|error| Error::from_io(&sealing.disk, sealing.key, error))?;
        // Less than a piece of the format waits for the rest of it.
        match sealed.is_empty() {
            true => Ok(()),
            false => self.to.write(sealed).await,
        }
    }

    /// Makes the object durable, then visible under its key.
    ///
    /// # Errors
    /// When it can't be made either; then nothing is visible, unless the disk was lost in the very
    /// moment: an [`Error::Unavailable`] of a remote disk leaves it open.
    pub async fn finish(mut self) -> Result<(), Error> {
        let meter = self.meter.take();
        let finished = self.seal_and_finish().await;
        match meter {
            Some(meter) => meter.failed(Operation::Upload, finished),
            None => finished,
        }
    }

    async fn seal_and_finish(mut self) -> Result<(), Error> {
        if let Some(Sealing { seal, disk, key }) = self.sealing {
            let last = seal.finish();
            let last = last.map_err(|error| Error::from_io(&disk, key, error))?;
            self.to.write(last).await?;
        }
        self.to.finish().await
    }

    /// Gives the upload up and removes what it has written.
    ///
    /// # Errors
    /// When that can't be removed; nothing is visible all the same.
    pub async fn abort(self) -> Result<(), Error> {
        self.to.abort().await
    }
}

impl To {
    async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        match self {
            Self::Local(upload) => upload.write(chunk).await,
            Self::S3(upload) => upload.write(chunk).await,
            Self::Gcs(upload) => upload.write(chunk).await,
        }
    }

    async fn finish(self) -> Result<(), Error> {
        match self {
            Self::Local(upload) => upload.finish().await,
            Self::S3(upload) => upload.finish().await,
            Self::Gcs(upload) => upload.finish().await,
        }
    }

    async fn abort(self) -> Result<(), Error> {
        match self {
            Self::Local(upload) => upload.abort().await,
            Self::S3(upload) => upload.abort().await,
            Self::Gcs(upload) => upload.abort().await,
        }
    }
}
