//! An object on its way to a disk.

use bytes::Bytes;

use crate::error::Error;
use crate::gcs::GcsUpload;
use crate::local::LocalUpload;
use crate::s3::S3Upload;

/// An object on its way to a disk: not visible, and gone when dropped. One whose
/// [`finish`](Upload::finish) is dropped half-way may have become visible.
#[derive(Debug)]
pub struct Upload(To);

#[derive(Debug)]
enum To {
    Local(LocalUpload),
    S3(S3Upload),
    Gcs(GcsUpload),
}

impl From<LocalUpload> for Upload {
    fn from(upload: LocalUpload) -> Self {
        Self(To::Local(upload))
    }
}

impl From<S3Upload> for Upload {
    fn from(upload: S3Upload) -> Self {
        Self(To::S3(upload))
    }
}

impl From<GcsUpload> for Upload {
    fn from(upload: GcsUpload) -> Self {
        Self(To::Gcs(upload))
    }
}

impl Upload {
    /// Adds bytes to the end.
    ///
    /// # Errors
    /// When the disk is full, refuses or fails; the upload is then of no more use.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        match &mut self.0 {
            To::Local(upload) => upload.write(chunk).await,
            To::S3(upload) => upload.write(chunk).await,
            To::Gcs(upload) => upload.write(chunk).await,
        }
    }

    /// Makes the object durable, then visible under its key.
    ///
    /// # Errors
    /// When it can't be made either; then nothing is visible, unless the disk was lost in the very
    /// moment: an [`Error::Unavailable`] of a remote disk leaves it open.
    pub async fn finish(self) -> Result<(), Error> {
        match self.0 {
            To::Local(upload) => upload.finish().await,
            To::S3(upload) => upload.finish().await,
            To::Gcs(upload) => upload.finish().await,
        }
    }

    /// Gives the upload up and removes what it has written.
    ///
    /// # Errors
    /// When that can't be removed; nothing is visible all the same.
    pub async fn abort(self) -> Result<(), Error> {
        match self.0 {
            To::Local(upload) => upload.abort().await,
            To::S3(upload) => upload.abort().await,
            To::Gcs(upload) => upload.abort().await,
        }
    }
}
