//! Listings of a disk, in pages: complete objects and partial uploads.

use crate::error::Error;
use crate::gcs::GcsListing;
use crate::local::LocalListing;
use crate::metrics::{DiskMetrics, Operation};
use crate::object::{Object, PartialUpload};
use crate::s3::{S3Listing, S3Partials};

/// The objects of a disk, in pages ordered by name. S3 and Google Cloud Storage guarantee this
/// order.
#[derive(Debug)]
pub struct Listing(ListingBackend);

#[derive(Debug)]
enum ListingBackend {
    Local(LocalListing),
    S3(S3Listing),
    Gcs(GcsListing),
}

impl From<LocalListing> for Listing {
    fn from(listing: LocalListing) -> Self {
        Self(ListingBackend::Local(listing))
    }
}

impl From<S3Listing> for Listing {
    fn from(listing: S3Listing) -> Self {
        Self(ListingBackend::S3(listing))
    }
}

impl From<GcsListing> for Listing {
    fn from(listing: GcsListing) -> Self {
        Self(ListingBackend::Gcs(listing))
    }
}

impl Listing {
    /// Returns the next page, which may be empty, or `None` after the last one.
    ///
    /// # Errors
    /// If the disk can't be read.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Object>>, Error> {
        match &mut self.0 {
            ListingBackend::Local(listing) => listing.next_page().await,
            ListingBackend::S3(listing) => listing.next_page().await,
            ListingBackend::Gcs(listing) => listing.next_page().await,
        }
    }
}

/// The partial uploads of a disk, in pages. They include running uploads, which only the caller can
/// recognize. Empty for servers that can't list them.
#[derive(Debug)]
pub struct PartialUploads {
    backend: PartialsBackend,
    metrics: Option<DiskMetrics>,
}

#[derive(Debug)]
enum PartialsBackend {
    Local(LocalListing),
    S3(S3Partials),
    /// Google can't list upload sessions, and ends them after a week.
    None,
}

impl From<LocalListing> for PartialUploads {
    fn from(listing: LocalListing) -> Self {
        Self::new(PartialsBackend::Local(listing))
    }
}

impl From<S3Partials> for PartialUploads {
    fn from(listing: S3Partials) -> Self {
        Self::new(PartialsBackend::S3(listing))
    }
}

impl PartialUploads {
    fn new(backend: PartialsBackend) -> Self {
        Self {
            backend,
            metrics: None,
        }
    }

    /// Returns an empty listing.
    pub(crate) fn none() -> Self {
        Self::new(PartialsBackend::None)
    }

    pub(crate) fn with_metrics(self, metrics: Option<DiskMetrics>) -> Self {
        Self { metrics, ..self }
    }

    /// Returns the next page, which may be empty, or `None` after the last one. Partial uploads of
    /// earlier pages may be removed meanwhile.
    ///
    /// # Errors
    /// If the disk can't be read.
    pub async fn next_page(&mut self) -> Result<Option<Vec<PartialUpload>>, Error> {
        let page = match &mut self.backend {
            PartialsBackend::Local(listing) => listing.next_partials().await,
            PartialsBackend::S3(listing) => listing.next_page().await,
            PartialsBackend::None => return Ok(None),
        };
        match &self.metrics {
            Some(metrics) => metrics.count(Operation::Sweep, page),
            None => page,
        }
    }
}
