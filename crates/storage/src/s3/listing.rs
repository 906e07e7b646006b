//! Lists a bucket, a thousand names at a time.

use std::sync::Arc;
use std::time::SystemTime;

use super::S3Disk;
use crate::error::Error;
use crate::listing::Object;

/// The objects whose names begin alike.
#[derive(Debug)]
pub(crate) struct S3Listing {
    disk: Arc<S3Disk>,
    prefix: String,
    /// Where the next page begins.
    token: Option<String>,
    is_done: bool,
}

impl S3Listing {
    /// Lists what begins with `prefix` below the disk's own.
    pub(super) fn below(disk: &Arc<S3Disk>, prefix: &str) -> Self {
        Self {
            prefix: format!("{}{prefix}", disk.options.prefix),
            disk: Arc::clone(disk),
            token: None,
            is_done: false,
        }
    }

    pub(crate) async fn next_page(&mut self) -> Result<Option<Vec<Object>>, Error> {
        if self.is_done {
            return Ok(None);
        }
        let disk = &self.disk;
        let request = disk.client().await.list_objects_v2().bucket(disk.bucket());
        let request = request
            .prefix(&self.prefix)
            .set_continuation_token(self.token.take());
        let page = request
            .send()
            .await
            .map_err(|error| disk.failed(format!("bucket {}", disk.bucket()), error))?;
        let objects = page.contents().iter().filter_map(|object| {
            Some(Object {
                key: disk.key(object.key()?)?,
                size_bytes: object.size().and_then(|size| u64::try_from(size).ok())?,
                written_at: object
                    .last_modified()
                    .and_then(|time| SystemTime::try_from(*time).ok()),
            })
        });
        let objects = objects.collect();
        self.token = page.next_continuation_token;
        self.is_done = self.token.is_none();
        Ok(Some(objects))
    }
}
