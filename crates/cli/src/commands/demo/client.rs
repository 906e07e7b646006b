//! The HTTP client of the demo. It prints each request as a `curl` command, and the response.

use std::io::Write;
use std::path::Path;

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;
use futures_util::StreamExt;
use reqwest::{Method, Response};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::transcript::Transcript;
use crate::error::CommandError;

pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    key: String,
}

impl Client {
    pub(super) fn new(url: &str, key: &str, server: &str) -> Result<Self, CommandError> {
        Ok(Self {
            http: reqwest::Client::builder().no_proxy().build()?,
            base: format!("{url}/api/client/servers/{server}/backups"),
            key: key.to_owned(),
        })
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(super) async fn get(
        &self,
        transcript: &Transcript,
        path: &str,
    ) -> Result<Value, CommandError> {
        transcript.request("GET", &self.url(path), "");
        let (status, body) = self.send(Method::GET, path, None).await?;
        transcript.response(status, &body);
        Ok(body)
    }

    /// Like [`get`](Self::get), without printing anything.
    pub(super) async fn get_silently(&self, path: &str) -> Result<Value, CommandError> {
        Ok(self.send(Method::GET, path, None).await?.1)
    }

    pub(super) async fn post(
        &self,
        transcript: &Transcript,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, CommandError> {
        let data = body
            .as_ref()
            .map_or_else(String::new, |body| format!(" -d '{body}'"));
        transcript.request("POST", &self.url(path), &data);
        let (status, body) = self.send(Method::POST, path, body).await?;
        transcript.response(status, &body);
        Ok(body)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(u16, Value), CommandError> {
        let mut request = self
            .http
            .request(method, self.url(path))
            .bearer_auth(&self.key);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = check_status(request.send().await?).await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        if text.is_empty() {
            return Ok((status, Value::Null));
        }
        let body = serde_json::from_str(&text).map_err(|error| {
            CommandError::with_cause(format!("the response to {path} is not JSON"), &error)
        })?;
        Ok((status, body))
    }

    /// Downloads a file without an API key, and returns its size in bytes and its SHA-256.
    pub(super) async fn download(
        &self,
        transcript: &Transcript,
        link: &str,
        to: &Path,
    ) -> Result<(u64, String), CommandError> {
        let plain = link.split('?').next().unwrap_or_default();
        transcript.command(&format!("curl '{plain}?token=…' -o {}", to.display()));
        let response = check_status(self.http.get(link).send().await?).await?;
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(to)?;
        let mut digest = Sha256::new();
        let mut received_bytes = 0;
        let mut stream = response.bytes_stream();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk?;
            received_bytes += chunk.len() as u64;
            digest.update(&chunk);
            file.write_all(&chunk)?;
        }
        file.flush()?;
        Ok((received_bytes, hex::encode(digest.finalize())))
    }
}

async fn check_status(response: Response) -> Result<Response, CommandError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let path = response.url().path().to_owned();
    Err(CommandError::new(format!(
        "{path} answered {status}: {}",
        response.text().await?
    )))
}
