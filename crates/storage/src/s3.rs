//! A disk in an S3 bucket: AWS, Ceph, Garage, `MinIO`, R2 and compatible servers.
//!
//! The client is aws-sdk-s3. It signs requests, retries temporary errors with jittered backoff, and
//! ends stalled connections. This module splits uploads into parts, makes an object visible exactly
//! once, and translates servers' errors into advice for the operator. Only the client holds the
//! secret key.

mod client;
mod copy;
mod failure;
mod listing;
mod multipart;
mod options;
mod reader;
mod upload;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::presigning::PresigningConfig;
use tokio::sync::OnceCell;

use holdfast_domain::{BackupId, DiskName, ServerId};

use crate::content_disposition::content_disposition;
use crate::error::Error;
use crate::health_cache::HealthCache;
use crate::key::StorageKey;
use crate::object::PartialUpload;

pub(crate) use listing::{S3Listing, S3Partials};
pub use options::{S3Keys, S3Options, ServerSideEncryption};
pub(crate) use reader::S3Reader;
pub(crate) use upload::S3Upload;

/// The content type of all objects.
const ARCHIVE_TYPE: &str = "application/gzip";

/// A disk in an S3 bucket.
#[derive(Debug)]
pub(crate) struct S3Disk {
    name: DiskName,
    options: S3Options,
    /// Created on first use, since the lookup of credentials may send requests.
    client: OnceCell<Client>,
    /// Signs presigned URLs, if they have a different endpoint.
    presign_client: OnceCell<Client>,
    health: HealthCache,
    /// Whether the server supports `If-None-Match`, as far as is known.
    supports_conditions: AtomicBool,
    /// Whether the server can copy parts, as far as is known.
    supports_copies: AtomicBool,
}

impl S3Disk {
    pub(crate) fn new(name: DiskName, options: S3Options) -> Arc<Self> {
        client::load_authorities();
        Arc::new(Self {
            name,
            options,
            client: OnceCell::new(),
            presign_client: OnceCell::new(),
            health: HealthCache::default(),
            supports_conditions: AtomicBool::new(true),
            supports_copies: AtomicBool::new(true),
        })
    }

    async fn client(&self) -> &Client {
        self.client
            .get_or_init(|| client::connect(&self.name, &self.options, None))
            .await
    }

    async fn presign_client(&self) -> &Client {
        match &self.options.public_endpoint {
            None => self.client().await,
            Some(endpoint) => {
                self.presign_client
                    .get_or_init(|| client::connect(&self.name, &self.options, Some(endpoint)))
                    .await
            }
        }
    }

    fn bucket(&self) -> &str {
        &self.options.bucket
    }

    /// Returns the object's name in the bucket.
    fn object_name(&self, key: StorageKey) -> String {
        format!("{}{}", self.options.prefix, key.path())
    }

    /// Parses a name of [`S3Disk::object_name`]. Returns `None` for any other name.
    fn key(&self, object_name: &str) -> Option<StorageKey> {
        StorageKey::parse(object_name.strip_prefix(&self.options.prefix)?)
    }

    pub(crate) async fn size(&self, key: StorageKey) -> Result<u64, Error> {
        match self.head(key).await {
            Ok(metadata) => Ok(metadata.size_bytes),
            Err(error) => Err(self.explain(error).await),
        }
    }

    /// Replaces the error of a HEAD request, which has no body, by that of a request with a body.
    async fn explain(&self, error: Error) -> Error {
        if error.is_temporary() {
            return error;
        }
        let probed = self.probe(aws_sdk_s3::Config::builder()).await;
        probed.err().unwrap_or(error)
    }

    /// Queries an object's metadata.
    async fn head(&self, key: StorageKey) -> Result<ObjectMetadata, Error> {
        let request = self.client().await.head_object().bucket(self.bucket());
        let response = request.key(self.object_name(key)).send().await;
        let response = response.map_err(|error| self.error_from(key, error))?;
        let custom = response.metadata();
        Ok(ObjectMetadata {
            size_bytes: u64::try_from(response.content_length().unwrap_or(0)).unwrap_or(0),
            upload_tag: custom.and_then(|custom| custom.get(upload::TAG_NAME).cloned()),
            e_tag: response.e_tag().map(str::to_owned),
        })
    }

    pub(crate) async fn read(
        self: &Arc<Self>,
        key: StorageKey,
        range: Range<u64>,
    ) -> Result<S3Reader, Error> {
        S3Reader::begin(Arc::clone(self), key, range).await
    }

    pub(crate) async fn presign(
        &self,
        key: StorageKey,
        file_name: &str,
        ttl: Duration,
    ) -> Result<String, Error> {
        let presigning =
            PresigningConfig::expires_in(ttl).map_err(|error| self.unavailable(key, error))?;
        let request = self
            .presign_client()
            .await
            .get_object()
            .bucket(self.bucket());
        let request = request
            .key(self.object_name(key))
            .response_content_type(ARCHIVE_TYPE)
            .response_content_disposition(content_disposition(file_name));
        let signed = request.presigned(presigning).await;
        Ok(signed
            .map_err(|error| self.error_from(key, error))?
            .uri()
            .to_owned())
    }

    pub(crate) async fn delete(&self, key: StorageKey) -> Result<(), Error> {
        let request = self.client().await.delete_object().bucket(self.bucket());
        match request.key(self.object_name(key)).send().await {
            Ok(_) => Ok(()),
            Err(error) => match self.error_from(key, error) {
                // Some servers report a missing object as an error.
                Error::NotFound { .. } => Ok(()),
                error => Err(error),
            },
        }
    }

    pub(crate) async fn delete_attempts(
        self: &Arc<Self>,
        server: ServerId,
        backup: BackupId,
        last: u32,
    ) -> Result<(), Error> {
        let prefix = format!("{server}/{backup}.");
        let mut partials = self.partials(&prefix);
        while let Some(page) = partials.next_page().await? {
            for partial in page {
                if partial.key.archive().attempt <= last {
                    self.remove_partial(&partial).await?;
                }
            }
        }
        let mut listing = S3Listing::new(self, &prefix);
        while let Some(page) = listing.next_page().await? {
            for object in page {
                if object.key.archive().attempt <= last {
                    self.delete(object.key).await?;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn list(self: &Arc<Self>, server: Option<ServerId>) -> S3Listing {
        let prefix = server.map_or_else(String::new, |server| format!("{server}/"));
        S3Listing::new(self, &prefix)
    }

    /// Lists the partial uploads of objects whose names begin with `prefix`.
    pub(crate) fn partials(self: &Arc<Self>, prefix: &str) -> S3Partials {
        S3Partials::new(self, prefix)
    }

    pub(crate) async fn remove_partial(&self, partial: &PartialUpload) -> Result<(), Error> {
        self.abort_multipart(partial.key, &partial.handle).await
    }

    /// Aborts a multipart upload, which deletes its parts.
    async fn abort_multipart(&self, key: StorageKey, upload_id: &str) -> Result<(), Error> {
        let request = self.client().await.abort_multipart_upload();
        let request = request.bucket(self.bucket()).key(self.object_name(key));
        match request.upload_id(upload_id).send().await {
            Ok(_) => Ok(()),
            Err(error) => match self.error_from(key, error) {
                Error::NotFound { .. } => Ok(()),
                error => Err(error),
            },
        }
    }

    pub(crate) async fn check(&self) -> Result<(), Error> {
        if !self.health.is_fresh() {
            self.probe(client::health_settings()).await?;
            self.health.record_success();
        }
        Ok(())
    }

    /// Lists one object of the bucket.
    async fn probe(&self, settings: Builder) -> Result<(), Error> {
        let request = self.client().await.list_objects_v2().bucket(self.bucket());
        let request = request.prefix(&self.options.prefix).max_keys(1);
        let request = request.customize().config_override(settings);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.error_from(format!("bucket {}", self.bucket()), error)),
        }
    }
}

/// The metadata of an object.
struct ObjectMetadata {
    size_bytes: u64,
    /// The tag of the upload that wrote it, if the server stores custom metadata.
    upload_tag: Option<String>,
    e_tag: Option<String>,
}
