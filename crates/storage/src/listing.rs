//! Lists what lies on a disk, page by page.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use holdfast_domain::ServerId;

use crate::error::Error;
use crate::gcs::GcsListing;
use crate::key::StorageKey;
use crate::local::LocalDisk;
use crate::s3::S3Listing;

/// An object that lies whole on a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// What it is.
    pub key: StorageKey,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// When it was written, by the clock of the disk, where that says.
    pub written_at: Option<SystemTime>,
}

/// The objects of a disk, page by page, in the order of their names, as every store that speaks S3 or is Google's
/// promises it.
#[derive(Debug)]
pub struct Listing(Of);

#[derive(Debug)]
enum Of {
    Local(LocalListing),
    S3(S3Listing),
    Gcs(GcsListing),
}

/// The objects below a folder: one server a page.
#[derive(Debug)]
pub(crate) struct LocalListing {
    pub(crate) disk: Arc<LocalDisk>,
    /// The servers still to be listed; `None` before they were looked for.
    pub(crate) servers: Option<VecDeque<ServerId>>,
}

impl From<LocalListing> for Listing {
    fn from(listing: LocalListing) -> Self {
        Self(Of::Local(listing))
    }
}

impl From<S3Listing> for Listing {
    fn from(listing: S3Listing) -> Self {
        Self(Of::S3(listing))
    }
}

impl From<GcsListing> for Listing {
    fn from(listing: GcsListing) -> Self {
        Self(Of::Gcs(listing))
    }
}

impl Listing {
    /// Returns some more objects, perhaps none; `None` after the last page.
    ///
    /// # Errors
    /// When the disk can't be read.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Object>>, Error> {
        match &mut self.0 {
            Of::Local(listing) => listing.next_page().await,
            Of::S3(listing) => listing.next_page().await,
            Of::Gcs(listing) => listing.next_page().await,
        }
    }
}

impl LocalListing {
    async fn next_page(&mut self) -> Result<Option<Vec<Object>>, Error> {
        let servers = match &mut self.servers {
            Some(servers) => servers,
            None => self.servers.insert(self.disk.servers().await?.into()),
        };
        match servers.pop_front() {
            Some(server) => self.disk.objects(server).await.map(Some),
            None => Ok(None),
        }
    }
}
