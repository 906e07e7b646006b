//! A bucket of Google Cloud Storage, by its JSON API, which is spoken here directly.
//!
//! What is here: who asks, what is tried again, sessions of large uploads, what makes an object visible
//! exactly once, and what a refusal means for whoever has to mend it. A session can't be listed, shows
//! nothing, costs nothing and ends by itself after a week: a killed upload leaves nothing to sweep.

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

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use holdfast_domain::{BackupId, DiskName, ServerId};
use percent_encoding::utf8_percent_encode;
use serde::Deserialize;

use crate::checked::Checked;
use crate::error::Error;
use crate::key::StorageKey;

pub use account::ServiceAccount;
pub(crate) use listing::GcsListing;
pub use options::GcsOptions;
pub(crate) use reader::GcsReader;
use token::Tokens;
pub(crate) use upload::GcsUpload;

/// What archives are, for browsers.
const ARCHIVE_TYPE: &str = "application/gzip";
/// The metadata that says which upload wrote an object.
const MARK: &str = "holdfast-upload";
/// What is asked for of an object.
const FIELDS: &str = "size,generation,crc32c,metadata";

/// A disk in a bucket.
#[derive(Debug)]
pub(crate) struct GcsDisk {
    name: DiskName,
    options: GcsOptions,
    http: reqwest::Client,
    /// `None` asks without saying who.
    tokens: Option<Tokens>,
    checked: Checked,
}

/// What the server says of an object.
#[derive(Debug, Deserialize)]
struct Found {
    size: String,
    generation: String,
    /// The CRC-32C of its bytes, where the server knows it.
    crc32c: Option<String>,
    #[serde(default)]
    metadata: Option<std::collections::HashMap<String, String>>,
}

impl Found {
    fn size_bytes(&self) -> u64 {
        self.size.parse().unwrap_or(0)
    }

    /// The mark of the upload that wrote it.
    fn mark(&self) -> Option<&str> {
        let metadata = self.metadata.as_ref()?;
        metadata.get(MARK).map(String::as_str)
    }
}

impl GcsDisk {
    pub(crate) fn new(name: DiskName, options: GcsOptions) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self {
            http: client::connect(&name, options.authorities.as_ref())?,
            tokens: options.account.clone().map(Tokens::new),
            checked: Checked::default(),
            name,
            options,
        }))
    }

    /// The name of an object in the bucket.
    fn object(&self, key: StorageKey) -> String {
        format!("{}{}", self.options.prefix, key.path())
    }

    /// Reads what [`GcsDisk::object`] writes; other names are not ours.
    fn key(&self, object: &str) -> Option<StorageKey> {
        StorageKey::parse(object.strip_prefix(&self.options.prefix)?)
    }

    fn bucket_url(&self) -> String {
        let (base, bucket) = (self.options.base(), &self.options.bucket);
        format!("{base}/storage/v1/b/{bucket}/o")
    }

    fn object_url(&self, key: StorageKey) -> String {
        let object = self.object(key);
        let object = utf8_percent_encode(&object, link::ESCAPED);
        format!("{}/{object}", self.bucket_url())
    }

    /// Where objects are sent to; never over one that is there.
    fn upload_url(&self, key: StorageKey, kind: &str) -> String {
        let (base, bucket) = (self.options.base(), &self.options.bucket);
        let object = self.object(key);
        let object = utf8_percent_encode(&object, link::ESCAPED);
        format!(
            "{base}/upload/storage/v1/b/{bucket}/o?uploadType={kind}&name={object}&ifGenerationMatch=0"
        )
    }

    pub(crate) async fn size(&self, key: StorageKey) -> Result<u64, Error> {
        match self.head(key).await {
            Ok(found) => Ok(found.size_bytes()),
            Err(error) => Err(self.explain(error).await),
        }
    }

    /// Tells an object that is missing from a bucket that is, which not every server does.
    async fn explain(&self, error: Error) -> Error {
        match error {
            Error::NotFound { .. } => self.probe().await.err().unwrap_or(error),
            error => error,
        }
    }

    async fn head(&self, key: StorageKey) -> Result<Found, Error> {
        let url = format!("{}?fields={FIELDS}", self.object_url(key));
        let reply = self.ask(|http| http.get(&url), client::ATTEMPT).await;
        let found = reply.and_then(|reply| reply.json());
        found.map_err(|failure| self.failed(key, failure))
    }

    pub(crate) async fn read(
        self: &Arc<Self>,
        key: StorageKey,
        range: Range<u64>,
    ) -> Result<GcsReader, Error> {
        GcsReader::begin(Arc::clone(self), key, range).await
    }

    pub(crate) fn link(
        &self,
        key: StorageKey,
        file_name: &str,
        ttl: Duration,
    ) -> Result<String, Error> {
        let object = self.object(key);
        let now = SystemTime::now().into();
        let link = self.options.link(&object, file_name, now, ttl);
        link.map_err(|error| self.broken(key, error))
    }

    pub(crate) async fn delete(&self, key: StorageKey) -> Result<(), Error> {
        self.delete_if(key, "").await
    }

    /// Deletes an object if `condition`, a part of the query, holds.
    async fn delete_if(&self, key: StorageKey, condition: &str) -> Result<(), Error> {
        let url = format!("{}{condition}", self.object_url(key));
        match self.ask(|http| http.delete(&url), client::ATTEMPT).await {
            Ok(_) => Ok(()),
            Err(failure) => match self.failed(key, failure) {
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
        let mut listing = GcsListing::below(self, &format!("{server}/{backup}."));
        // All names first: a page may begin at a place that moves when objects go.
        let mut keys = Vec::new();
        while let Some(page) = listing.next_page().await? {
            keys.extend(page.into_iter().map(|object| object.key));
        }
        for key in keys {
            self.delete(key).await?;
        }
        Ok(())
    }

    pub(crate) fn list(self: &Arc<Self>, server: Option<ServerId>) -> GcsListing {
        let prefix = server.map_or_else(String::new, |server| format!("{server}/"));
        GcsListing::below(self, &prefix)
    }

    pub(crate) async fn check(&self) -> Result<(), Error> {
        if !self.checked.is_recent() {
            self.probe().await?;
            self.checked.note();
        }
        Ok(())
    }

    async fn probe(&self) -> Result<(), Error> {
        let prefix = utf8_percent_encode(&self.options.prefix, link::ESCAPED);
        let url = format!(
            "{}?maxResults=1&prefix={prefix}&fields=kind",
            self.bucket_url()
        );
        let asked = self.ask(|http| http.get(&url), client::ATTEMPT).await;
        let bucket = format!("bucket {}", self.options.bucket);
        match asked {
            Ok(_) => Ok(()),
            Err(failure) => Err(self.failed_on_bucket(bucket, failure)),
        }
    }
}

#[cfg(test)]
mod tests;
