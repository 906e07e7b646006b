//! Lists what lies on a disk, page by page: whole objects, and what uploads have left that did not end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use holdfast_domain::ServerId;

use crate::disk::PartialUpload;
use crate::error::Error;
use crate::gcs::GcsListing;
use crate::key::StorageKey;
use crate::local::LocalDisk;
use crate::meter::{Meter, Operation};
use crate::s3::{S3Listing, S3Partials};

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
    async fn next_server(&mut self) -> Result<Option<ServerId>, Error> {
        let servers = match &mut self.servers {
            Some(servers) => servers,
            None => self.servers.insert(self.disk.servers().await?.into()),
        };
        Ok(servers.pop_front())
    }

    async fn next_page(&mut self) -> Result<Option<Vec<Object>>, Error> {
        match self.next_server().await? {
            Some(server) => self.disk.objects(server).await.map(Some),
            None => Ok(None),
        }
    }

    async fn next_partials(&mut self) -> Result<Option<Vec<PartialUpload>>, Error> {
        match self.next_server().await? {
            Some(server) => self.disk.partials(server).await.map(Some),
            None => Ok(None),
        }
    }
}

/// What uploads have left on a disk that have not ended, page by page, running ones among them: only the caller
/// knows which those are. A server that can't tell has none to tell of.
#[derive(Debug)]
pub struct PartialUploads {
    of: PartialsOf,
    meter: Option<Meter>,
}

#[derive(Debug)]
pub(crate) enum PartialsOf {
    Local(LocalListing),
    S3(S3Partials),
    /// Sessions can't be listed, and end by themselves.
    Gcs,
}

impl PartialUploads {
    pub(crate) fn new(of: PartialsOf, meter: Option<Meter>) -> Self {
        Self { of, meter }
    }

    /// Returns some more, perhaps none; `None` after the last page. What was returned may be removed before the next
    /// page is asked for.
    ///
    /// # Errors
    /// When the disk can't be read.
    pub async fn next_page(&mut self) -> Result<Option<Vec<PartialUpload>>, Error> {
        let page = match &mut self.of {
            PartialsOf::Local(listing) => listing.next_partials().await,
            PartialsOf::S3(listing) => listing.next_page().await,
            PartialsOf::Gcs => return Ok(None),
        };
        match &self.meter {
            Some(meter) => meter.count(Operation::Sweep, page),
            None => page,
        }
    }
}
