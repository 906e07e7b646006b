//! What has to be known of a bucket at Google.

use std::sync::Arc;

use super::ServiceAccount;
use crate::authorities::Authorities;

/// A bucket, how to reach it, and who writes to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcsOptions {
    /// The bucket's name.
    pub bucket: String,
    /// What the names of all objects begin with: empty, or with a slash at its end.
    pub prefix: String,
    /// The server's base URL, without a slash at its end; `None` for Google's own.
    pub endpoint: Option<String>,
    /// Who may sign the server's certificate, beside whom the machine trusts.
    pub authorities: Option<Authorities>,
    /// Who asks and signs; `None` asks without saying who, as emulators and public buckets allow.
    pub account: Option<Arc<ServiceAccount>>,
    /// The size of the chunks that large objects are sent in: a multiple of
    /// [`GcsOptions::CHUNK_BYTES_UNIT`].
    pub chunk_bytes: u64,
}

impl GcsOptions {
    /// The size of chunks when nothing else is said. One is on its way while another one fills.
    pub const CHUNK_BYTES: u64 = 8 << 20;
    /// What a chunk is a multiple of, except the last one.
    pub const CHUNK_BYTES_UNIT: u64 = 256 << 10;
    /// The largest object that Google takes.
    pub(super) const OBJECT_BYTES_MAX: u64 = 5 << 40;
    /// Where Google is.
    const GOOGLE: &str = "https://storage.googleapis.com";

    pub(super) fn base(&self) -> &str {
        self.endpoint.as_deref().unwrap_or(Self::GOOGLE)
    }

    /// The size of chunks, made to be one that servers take.
    pub(super) fn chunk_bytes(&self) -> usize {
        let units = self.chunk_bytes.div_ceil(Self::CHUNK_BYTES_UNIT).max(1);
        usize::try_from(units * Self::CHUNK_BYTES_UNIT).unwrap_or(8 << 20)
    }
}
