//! Lists the objects and multipart uploads of a bucket, a thousand per page.

use std::sync::Arc;
use std::time::SystemTime;

use super::{S3Disk, failure};
use crate::error::Error;
use crate::object::{Object, PartialUpload};

/// A listing of the objects whose names begin with a prefix.
#[derive(Debug)]
pub(crate) struct S3Listing {
    disk: Arc<S3Disk>,
    prefix: String,
    /// The token of the next page.
    next_token: Option<String>,
    is_done: bool,
}

impl S3Listing {
    /// Lists objects whose names begin with the disk's prefix and `prefix`.
    pub(super) fn new(disk: &Arc<S3Disk>, prefix: &str) -> Self {
        Self {
            prefix: format!("{}{prefix}", disk.options.prefix),
            disk: Arc::clone(disk),
            next_token: None,
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
            .set_continuation_token(self.next_token.take());
        let page = request
            .send()
            .await
            .map_err(|error| disk.error_from(format!("bucket {}", disk.bucket()), error))?;
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
        self.next_token = page.next_continuation_token;
        self.is_done = self.next_token.is_none();
        Ok(Some(objects))
    }
}

/// A listing of the multipart uploads of objects whose names begin with a prefix.
#[derive(Debug)]
pub(crate) struct S3Partials {
    disk: Arc<S3Disk>,
    prefix: String,
    /// The object and upload ID at the end of the last page.
    next_markers: (Option<String>, Option<String>),
    is_done: bool,
}

impl S3Partials {
    /// Lists uploads of objects whose names begin with the disk's prefix and `prefix`.
    pub(super) fn new(disk: &Arc<S3Disk>, prefix: &str) -> Self {
        Self {
            prefix: format!("{}{prefix}", disk.options.prefix),
            disk: Arc::clone(disk),
            next_markers: (None, None),
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
            .set_key_marker(self.next_markers.0.take())
            .set_upload_id_marker(self.next_markers.1.take());
        let page = match request.send().await {
            Ok(page) => page,
            Err(error) if failure::is_not_implemented(&error) => {
                tracing::debug!(disk = %disk.name, "the server can't list unfinished uploads");
                self.is_done = true;
                return Ok(None);
            }
            Err(error) => return Err(disk.error_from("unfinished uploads", error)),
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
        self.next_markers = (page.next_key_marker, page.next_upload_id_marker);
        Ok(Some(partials))
    }
}
