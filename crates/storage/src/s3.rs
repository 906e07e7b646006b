//! A bucket of a server that speaks S3: AWS, Ceph, Garage, `MinIO`, R2 and their like.
//!
//! The client is aws-sdk-s3, which signs, repeats what may pass with growing, jittered waits, and
//! gives up on connections that stall. What is here: parts and their order, what makes an upload
//! visible exactly once, and what a server's refusal means for whoever has to mend it. The secret
//! key is in the client alone.

mod client;
mod failure;
mod listing;
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
use holdfast_domain::{BackupId, DiskName, ServerId};
use tokio::sync::OnceCell;

use crate::checked::Checked;
use crate::disk::PartialUpload;
use crate::disposition::disposition;
use crate::error::Error;
use crate::key::StorageKey;

pub(crate) use listing::{S3Listing, S3Partials};
pub use options::{S3Keys, S3Options, ServerSideEncryption};
pub(crate) use reader::S3Reader;
pub(crate) use upload::S3Upload;

/// What archives are, for browsers.
const ARCHIVE_TYPE: &str = "application/gzip";

/// A disk in a bucket.
#[derive(Debug)]
pub(crate) struct S3Disk {
    name: DiskName,
    options: S3Options,
    /// Made when first used, since finding credentials may ask the network.
    client: OnceCell<Client>,
    /// Signs links, when those lead elsewhere than requests go.
    link_client: OnceCell<Client>,
    checked: Checked,
    /// Whether the server has not yet said that it knows no `If-None-Match`.
    is_conditional: AtomicBool,
}

impl S3Disk {
    pub(crate) fn new(name: DiskName, options: S3Options) -> Arc<Self> {
        Arc::new(Self {
            name,
            options,
            client: OnceCell::new(),
            link_client: OnceCell::new(),
            checked: Checked::default(),
            is_conditional: AtomicBool::new(true),
        })
    }

    async fn client(&self) -> &Client {
        self.client
            .get_or_init(|| client::connect(&self.name, &self.options, None))
            .await
    }

    async fn link_client(&self) -> &Client {
        match &self.options.public_endpoint {
            None => self.client().await,
            Some(endpoint) => {
                self.link_client
                    .get_or_init(|| client::connect(&self.name, &self.options, Some(endpoint)))
                    .await
            }
        }
    }

    fn bucket(&self) -> &str {
        &self.options.bucket
    }

    /// The name of an object in the bucket.
    fn object(&self, key: StorageKey) -> String {
        format!("{}{}", self.options.prefix, key.path())
    }

    /// Reads what [`S3Disk::object`] writes; other names are not ours.
    fn key(&self, object: &str) -> Option<StorageKey> {
        StorageKey::parse(object.strip_prefix(&self.options.prefix)?)
    }

    pub(crate) async fn size(&self, key: StorageKey) -> Result<u64, Error> {
        match self.head(key).await {
            Ok(found) => Ok(found.size_bytes),
            Err(error) => Err(self.explain(error).await),
        }
    }

    /// Finds out why HEAD was refused, whose answers have no text, by a request whose answers do.
    async fn explain(&self, error: Error) -> Error {
        if error.may_pass() {
            return error;
        }
        let probed = self.probe(aws_sdk_s3::Config::builder()).await;
        probed.err().unwrap_or(error)
    }

    /// Asks for an object's size and for the upload that wrote it.
    async fn head(&self, key: StorageKey) -> Result<Head, Error> {
        let request = self.client().await.head_object().bucket(self.bucket());
        let found = request.key(self.object(key)).send().await;
        let found = found.map_err(|error| self.failed(key, error))?;
        let metadata = found.metadata();
        Ok(Head {
            size_bytes: u64::try_from(found.content_length().unwrap_or(0)).unwrap_or(0),
            upload: metadata.and_then(|metadata| metadata.get(upload::MARK).cloned()),
        })
    }

    pub(crate) async fn read(
        self: &Arc<Self>,
        key: StorageKey,
        range: Range<u64>,
    ) -> Result<S3Reader, Error> {
        S3Reader::begin(Arc::clone(self), key, range).await
    }

    pub(crate) async fn link(
        &self,
        key: StorageKey,
        file_name: &str,
        ttl: Duration,
    ) -> Result<String, Error> {
        let presigning =
            PresigningConfig::expires_in(ttl).map_err(|error| self.broken(key, error))?;
        let request = self.link_client().await.get_object().bucket(self.bucket());
        let request = request
            .key(self.object(key))
            .response_content_type(ARCHIVE_TYPE)
            .response_content_disposition(disposition(file_name));
        let signed = request.presigned(presigning).await;
        Ok(signed
            .map_err(|error| self.failed(key, error))?
            .uri()
            .to_owned())
    }

    pub(crate) async fn delete(&self, key: StorageKey) -> Result<(), Error> {
        let request = self.client().await.delete_object().bucket(self.bucket());
        match request.key(self.object(key)).send().await {
            Ok(_) => Ok(()),
            Err(error) => match self.failed(key, error) {
                // Some servers say so; it is gone all the same.
                Error::NotFound { .. } => Ok(()),
                error => Err(error),
            },
        }
    }

    pub(crate) async fn delete_backup(
        self: &Arc<Self>,
        server: ServerId,
        backup: BackupId,
    ) -> Result<(), Error> {
        let prefix = format!("{server}/{backup}.");
        let mut partials = self.partials(&prefix);
        while let Some(page) = partials.next_page().await? {
            for partial in page {
                self.remove_partial(&partial).await?;
            }
        }
        let mut listing = S3Listing::below(self, &prefix);
        while let Some(page) = listing.next_page().await? {
            for object in page {
                self.delete(object.key).await?;
            }
        }
        Ok(())
    }

    pub(crate) fn list(self: &Arc<Self>, server: Option<ServerId>) -> S3Listing {
        let prefix = server.map_or_else(String::new, |server| format!("{server}/"));
        S3Listing::below(self, &prefix)
    }

    /// Lists unfinished uploads of names that begin with `prefix`.
    pub(crate) fn partials(self: &Arc<Self>, prefix: &str) -> S3Partials {
        S3Partials::below(self, prefix)
    }

    pub(crate) async fn remove_partial(&self, partial: &PartialUpload) -> Result<(), Error> {
        self.abandon(partial.key, &partial.handle).await
    }

    /// Has the server forget the parts of an upload.
    async fn abandon(&self, key: StorageKey, upload: &str) -> Result<(), Error> {
        let request = self.client().await.abort_multipart_upload();
        let request = request.bucket(self.bucket()).key(self.object(key));
        match request.upload_id(upload).send().await {
            Ok(_) => Ok(()),
            Err(error) => match self.failed(key, error) {
                Error::NotFound { .. } => Ok(()),
                error => Err(error),
            },
        }
    }

    pub(crate) async fn check(&self) -> Result<(), Error> {
        if !self.checked.is_recent() {
            self.probe(client::for_health()).await?;
            self.checked.note();
        }
        Ok(())
    }

    async fn probe(&self, settings: Builder) -> Result<(), Error> {
        let request = self.client().await.list_objects_v2().bucket(self.bucket());
        let request = request.prefix(&self.options.prefix).max_keys(1);
        let request = request.customize().config_override(settings);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed(format!("bucket {}", self.bucket()), error)),
        }
    }
}

/// What a server says of an object.
struct Head {
    size_bytes: u64,
    /// The mark of the upload that wrote it, where the server keeps marks.
    upload: Option<String>,
}
