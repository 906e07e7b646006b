//! Lists a bucket, a thousand names at a time.

use std::sync::Arc;
use std::time::SystemTime;

use super::{S3Disk, failure};
use crate::disk::PartialUpload;
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

/// Unfinished uploads of objects whose names begin alike.
#[derive(Debug)]
pub(crate) struct S3Partials {
    disk: Arc<S3Disk>,
    prefix: String,
    /// The last one of the page before, by object and upload.
    after: (Option<String>, Option<String>),
    is_done: bool,
}

impl S3Partials {
    /// Lists those of what begins with `prefix` below the disk's own.
    pub(super) fn below(disk: &Arc<S3Disk>, prefix: &str) -> Self {
        Self {
            prefix: format!("{}{prefix}", disk.options.prefix),
            disk: Arc::clone(disk),
            after: (None, None),
            is_done: false,
        }
    }

    pub(crate) async fn next_page(&mut self) -> Result<Option<Vec<PartialUpload>>, Error> {
        if self.is_done {
            return Ok(None);
        }
        let disk = &self.disk;
        let request = disk.client().await.list_multipart_uploads();
        let request = request.bucket(disk.bucket()).prefix(&self.prefix);
        let request = request
            .set_key_marker(self.after.0.take())
            .set_upload_id_marker(self.after.1.take());
        let page = match request.send().await {
            Ok(page) => page,
            Err(error) if failure::is_not_implemented(&error) => {
                tracing::debug!(disk = %disk.name, "this server can't list unfinished uploads");
                self.is_done = true;
                return Ok(None);
            }
            Err(error) => return Err(disk.failed("unfinished uploads", error)),
        };
        let partials = page.uploads().iter().filter_map(|upload| {
            let begun_at = upload.initiated();
            Some(PartialUpload {
                key: disk.key(upload.key()?)?,
                handle: upload.upload_id()?.to_owned(),
                written_at: begun_at.and_then(|at| SystemTime::try_from(*at).ok()),
            })
        });
        let partials = partials.collect();
        self.is_done = !page.is_truncated().unwrap_or(false) || page.next_key_marker().is_none();
        self.after = (page.next_key_marker, page.next_upload_id_marker);
        Ok(Some(partials))
    }
}
