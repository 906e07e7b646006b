//! Lists the objects of a bucket, a thousand per page.

use std::sync::Arc;
use std::time::SystemTime;

use chrono::DateTime;
use percent_encoding::utf8_percent_encode;
use serde::Deserialize;

use super::{GcsDisk, client, link};
use crate::error::Error;
use crate::object::Object;

/// A listing of the objects whose names begin with a prefix.
#[derive(Debug)]
pub(crate) struct GcsListing {
    disk: Arc<GcsDisk>,
    prefix: String,
    /// The token of the next page.
    next_token: Option<String>,
    is_done: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    next_page_token: Option<String>,
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    name: String,
    size: String,
    time_created: Option<String>,
}

impl GcsListing {
    /// Lists objects whose names begin with the disk's prefix and `prefix`.
    pub(super) fn new(disk: &Arc<GcsDisk>, prefix: &str) -> Self {
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
        let prefix = utf8_percent_encode(&self.prefix, link::ESCAPED);
        let fields = "nextPageToken,items(name,size,timeCreated)";
        let mut url = format!(
            "{}?maxResults=1000&prefix={prefix}&fields={}",
            disk.bucket_url(),
            utf8_percent_encode(fields, link::ESCAPED),
        );
        if let Some(token) = &self.next_token {
            url.push_str("&pageToken=");
            url.extend(utf8_percent_encode(token, link::ESCAPED));
        }
        let response = disk.send(|http| http.get(&url), client::TIMEOUT).await;
        let page = response.and_then(|response| response.json::<Page>());
        let bucket = format!("bucket {}", disk.options.bucket);
        let page = page.map_err(|error| disk.bucket_error_from(bucket, error))?;
        let objects = page.items.into_iter().filter_map(|item| {
            let time = item
                .time_created
                .as_deref()
                .map(DateTime::parse_from_rfc3339);
            Some(Object {
                key: disk.key(&item.name)?,
                size_bytes: item.size.parse().ok()?,
                written_at: time.and_then(Result::ok).map(SystemTime::from),
            })
        });
        let objects = objects.collect();
        self.next_token = page.next_page_token.filter(|token| !token.is_empty());
        self.is_done = self.next_token.is_none();
        Ok(Some(objects))
    }
}
