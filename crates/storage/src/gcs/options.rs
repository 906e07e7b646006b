//! The options of a disk in a bucket of Google Cloud Storage.

use std::sync::Arc;

use super::ServiceAccount;
use crate::ca_bundle::CaBundle;

/// The options of a disk in a bucket of Google Cloud Storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcsOptions {
    /// The bucket's name.
    pub bucket: String,
    /// The prefix of all objects' names: empty, or with a slash at the end.
    pub prefix: String,
    /// The server's base URL, without a slash at the end; `None` for Google.
    pub endpoint: Option<String>,
    /// Trusted authorities for the server's certificate, in addition to those of the machine.
    pub ca_bundle: Option<CaBundle>,
    /// The account that authenticates and signs; `None` sends requests without authentication, for
    /// emulators and public buckets.
    pub account: Option<Arc<ServiceAccount>>,
    /// The size of the chunks of large objects, rounded up to a multiple of
    /// [`GcsOptions::CHUNK_BYTES_UNIT`].
    pub chunk_bytes: u64,
}

impl GcsOptions {
    /// The default size of chunks. One is in flight while another one fills.
    pub const CHUNK_BYTES: u64 = 8 << 20;
    /// All chunks but the last have a multiple of this size.
    pub const CHUNK_BYTES_UNIT: u64 = 256 << 10;
    /// The maximum size of an object.
    pub(super) const OBJECT_BYTES_MAX: u64 = 5 << 40;
    /// Google's base URL.
    const GOOGLE_URL: &str = "https://storage.googleapis.com";

    pub(super) fn base_url(&self) -> &str {
        self.endpoint.as_deref().unwrap_or(Self::GOOGLE_URL)
    }

    /// Returns the size of chunks, as a multiple of the unit.
    pub(super) fn chunk_bytes(&self) -> usize {
        let units = self.chunk_bytes.div_ceil(Self::CHUNK_BYTES_UNIT).max(1);
        usize::try_from(units * Self::CHUNK_BYTES_UNIT).unwrap_or(8 << 20)
    }
}
