//! Presigned URLs, signed with the account's key (version 4, `GOOG4-RSA-SHA256`).

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use chrono::{DateTime, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::account::SigningFailed;
use super::{ARCHIVE_TYPE, GcsOptions};
use crate::content_disposition::content_disposition;

/// The characters that are escaped in URLs: all but the unreserved ones.
pub(super) const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// The characters that are escaped in an object's path, which keeps its slashes.
const ESCAPED_PATH: &AsciiSet = &ESCAPED.remove(b'/');
/// The maximum lifetime of a presigned URL, in seconds.
const TTL_MAX_SECONDS: u64 = 7 * 24 * 3600;

/// Returns the canonical query string.
fn query(parameters: &mut [(&str, String)]) -> String {
    parameters.sort();
    let parts: Vec<String> = parameters
        .iter()
        .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, ESCAPED)))
        .collect();
    parts.join("&")
}

impl GcsOptions {
    /// Returns a URL to download `object`. Without an account, the URL is not signed, which is
    /// enough for a server without authentication.
    pub(super) fn presign(
        &self,
        object: &str,
        file_name: &str,
        now: DateTime<Utc>,
        ttl: Duration,
    ) -> Result<String, SigningFailed> {
        let base = self.base_url();
        let object = utf8_percent_encode(object, ESCAPED_PATH);
        let path = format!("/{}/{object}", self.bucket);
        let mut parameters = vec![
            (
                "response-content-disposition",
                content_disposition(file_name),
            ),
            ("response-content-type", ARCHIVE_TYPE.to_owned()),
        ];
        let Some(account) = &self.account else {
            return Ok(format!("{base}{path}?{}", query(&mut parameters)));
        };
        let time = now.format("%Y%m%dT%H%M%SZ").to_string();
        let scope = format!("{}/auto/storage/goog4_request", now.format("%Y%m%d"));
        let seconds = ttl.as_secs().clamp(1, TTL_MAX_SECONDS);
        parameters.extend([
            ("X-Goog-Algorithm", "GOOG4-RSA-SHA256".to_owned()),
            ("X-Goog-Credential", format!("{}/{scope}", account.email())),
            ("X-Goog-Date", time.clone()),
            ("X-Goog-Expires", seconds.to_string()),
            ("X-Goog-SignedHeaders", "host".to_owned()),
        ]);
        let query = query(&mut parameters);
        // A path after the host belongs to a proxy. The server does not see it.
        let host = base.split_once("://").map_or(base, |(_, rest)| rest);
        let host = host.split('/').next().unwrap_or_default().to_lowercase();
        let request = format!("GET\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD");
        let hash = hex::encode(digest(&SHA256, request.as_bytes()));
        let message = format!("GOOG4-RSA-SHA256\n{time}\n{scope}\n{hash}");
        let signature = hex::encode(account.sign(message.as_bytes())?);
        Ok(format!("{base}{path}?{query}&X-Goog-Signature={signature}"))
    }
}
