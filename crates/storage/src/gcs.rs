//! A disk in a bucket of Google Cloud Storage, through its JSON API.
//!
//! This module authenticates and retries requests, sends large objects in resumable sessions, makes
//! an object visible exactly once, and translates errors into advice for the operator. A session
//! can't be listed, is not visible, costs nothing and ends after a week. So a killed upload leaves
//! nothing to sweep.

mod account;
mod client;
mod failure;
mod link;
mod listing;
mod options;
mod reader;
mod session;
mod token;
mod upload;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use percent_encoding::utf8_percent_encode;
use serde::Deserialize;

use holdfast_domain::{BackupId, DiskName, ServerId};

use crate::error::Error;
use crate::health_cache::HealthCache;
use crate::key::StorageKey;

pub use account::ServiceAccount;
pub(crate) use listing::GcsListing;
pub use options::GcsOptions;
pub(crate) use reader::GcsReader;
use token::TokenCache;
pub(crate) use upload::GcsUpload;

/// The content type of all objects.
const ARCHIVE_TYPE: &str = "application/gzip";
/// The name of the metadata with the tag of the upload that wrote an object.
const TAG_NAME: &str = "holdfast-upload";
/// The fields of an object's metadata that are requested.
const METADATA_FIELDS: &str = "size,generation,crc32c,metadata";

/// A disk in a bucket of Google Cloud Storage.
#[derive(Debug)]
pub(crate) struct GcsDisk {
    name: DiskName,
    options: GcsOptions,
    http: reqwest::Client,
    /// `None` sends requests without authentication.
    tokens: Option<TokenCache>,
    health: HealthCache,
}

/// The metadata of an object.
#[derive(Debug, Deserialize)]
struct ObjectMetadata {
    size: String,
    generation: String,
    /// The CRC-32C of its bytes, if the server tells it.
    crc32c: Option<String>,
    #[serde(default)]
    metadata: Option<HashMap<String, String>>,
}

impl ObjectMetadata {
    fn size_bytes(&self) -> u64 {
        self.size.parse().unwrap_or(0)
    }

    /// Returns the tag of the upload that wrote the object.
    fn upload_tag(&self) -> Option<&str> {
        let metadata = self.metadata.as_ref()?;
        metadata.get(TAG_NAME).map(String::as_str)
    }
}

impl GcsDisk {
    pub(crate) fn new(name: DiskName, options: GcsOptions) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self {
            http: client::connect(&name, options.ca_bundle.as_ref())?,
            tokens: options.account.clone().map(TokenCache::new),
            health: HealthCache::default(),
            name,
            options,
        }))
    }

    /// Returns the object's name in the bucket.
    fn object_name(&self, key: StorageKey) -> String {
        format!("{}{}", self.options.prefix, key.path())
    }

    /// Parses a name of [`GcsDisk::object_name`]. Returns `None` for any other name.
    fn key(&self, object_name: &str) -> Option<StorageKey> {
        StorageKey::parse(object_name.strip_prefix(&self.options.prefix)?)
    }

    fn bucket_url(&self) -> String {
        let (base, bucket) = (self.options.base_url(), &self.options.bucket);
        format!("{base}/storage/v1/b/{bucket}/o")
    }

    fn object_url(&self, key: StorageKey) -> String {
        let object = self.object_name(key);
        let object = utf8_percent_encode(&object, link::ESCAPED);
        format!("{}/{object}", self.bucket_url())
    }

    /// Returns the URL of an upload of `kind`, with the condition that it must not overwrite.
    fn upload_url(&self, key: StorageKey, kind: &str) -> String {
        let (base, bucket) = (self.options.base_url(), &self.options.bucket);
        let object = self.object_name(key);
        let object = utf8_percent_encode(&object, link::ESCAPED);
        format!(
            "{base}/upload/storage/v1/b/{bucket}/o\
             ?uploadType={kind}&name={object}&ifGenerationMatch=0"
        )
    }

    pub(crate) async fn size(&self, key: StorageKey) -> Result<u64, Error> {
        match self.head(key).await {
            Ok(metadata) => Ok(metadata.size_bytes()),
            Err(error) => Err(self.explain(error).await),
        }
    }

    /// If an object is missing, checks whether the bucket is, which not every server tells.
    async fn explain(&self, error: Error) -> Error {
        match error {
            Error::NotFound { .. } => self
                .probe(client::ATTEMPTS_MAX)
                .await
                .err()
                .unwrap_or(error),
            error => error,
        }
    }

    async fn head(&self, key: StorageKey) -> Result<ObjectMetadata, Error> {
        let url = format!("{}?fields={METADATA_FIELDS}", self.object_url(key));
        let response = self.send(|http| http.get(&url), client::TIMEOUT).await;
        let metadata = response.and_then(|response| response.json());
        metadata.map_err(|error| self.error_from(key, error))
    }

    pub(crate) async fn read(
        self: &Arc<Self>,
        key: StorageKey,
        range: Range<u64>,
    ) -> Result<GcsReader, Error> {
        GcsReader::begin(Arc::clone(self), key, range).await
    }

    pub(crate) fn presign(
        &self,
        key: StorageKey,
        file_name: &str,
        ttl: Duration,
    ) -> Result<String, Error> {
        let object = self.object_name(key);
        let now = SystemTime::now().into();
        let url = self.options.presign(&object, file_name, now, ttl);
        url.map_err(|error| self.unavailable(key, error))
    }

    pub(crate) async fn delete(&self, key: StorageKey) -> Result<(), Error> {
        self.delete_if(key, "").await
    }

    /// Deletes an object. `condition` is a query string with a condition, or empty.
    async fn delete_if(&self, key: StorageKey, condition: &str) -> Result<(), Error> {
        let url = format!("{}{condition}", self.object_url(key));
        match self.send(|http| http.delete(&url), client::TIMEOUT).await {
            Ok(_) => Ok(()),
            Err(error) => match self.error_from(key, error) {
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
        let mut listing = GcsListing::new(self, &format!("{server}/{backup}."));
        // List completely before deleting: deletions may shift the start of the next page.
        let mut keys = Vec::new();
        while let Some(page) = listing.next_page().await? {
            keys.extend(page.into_iter().map(|object| object.key));
        }
        for key in keys {
            if key.archive().attempt <= last {
                self.delete(key).await?;
            }
        }
        Ok(())
    }

    pub(crate) fn list(self: &Arc<Self>, server: Option<ServerId>) -> GcsListing {
        let prefix = server.map_or_else(String::new, |server| format!("{server}/"));
        GcsListing::new(self, &prefix)
    }

    pub(crate) async fn check(&self) -> Result<(), Error> {
        if !self.health.is_fresh() {
            self.probe(client::HEALTH_ATTEMPTS_MAX).await?;
            self.health.record_success();
        }
        Ok(())
    }

    /// Lists one object of the bucket.
    async fn probe(&self, attempts_max: u32) -> Result<(), Error> {
        let prefix = utf8_percent_encode(&self.options.prefix, link::ESCAPED);
        let url = format!(
            "{}?maxResults=1&prefix={prefix}&fields=kind",
            self.bucket_url()
        );
        let build = |http: &reqwest::Client| http.get(&url);
        let response = self.send_with_attempts(attempts_max, build, client::TIMEOUT);
        let bucket = format!("bucket {}", self.options.bucket);
        match response.await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.bucket_error_from(bucket, error)),
        }
    }
}

#[cfg(test)]
mod tests;
