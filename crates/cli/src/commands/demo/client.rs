//! The demo's HTTP client: what a user's script would do.

use std::io::Write;
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use fs_err as fs;
use futures_util::StreamExt;
use reqwest::{Method, Response};
use serde_json::Value;

use super::story::Story;
use crate::failure::Failure;

pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    key: String,
}

impl Client {
    pub(super) fn new(url: &str, key: &str, server: &str) -> Result<Self, Failure> {
        Ok(Self {
            http: reqwest::Client::builder().no_proxy().build()?,
            base: format!("{url}/api/client/servers/{server}/backups"),
            key: key.to_owned(),
        })
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(super) async fn get(&self, story: &Story, path: &str) -> Result<Value, Failure> {
        story.requested("GET", &self.url(path), "");
        let (status, answer) = self.send(Method::GET, path, None).await?;
        story.answer(status, &answer);
        Ok(answer)
    }

    pub(super) async fn quiet_get(&self, path: &str) -> Result<Value, Failure> {
        Ok(self.send(Method::GET, path, None).await?.1)
    }

    pub(super) async fn post(
        &self,
        story: &Story,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Failure> {
        let data = body
            .as_ref()
            .map_or_else(String::new, |body| format!(" -d '{body}'"));
        story.requested("POST", &self.url(path), &data);
        let (status, answer) = self.send(Method::POST, path, body).await?;
        story.answer(status, &answer);
        Ok(answer)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(u16, Value), Failure> {
        let mut request = self
            .http
            .request(method, self.url(path))
            .bearer_auth(&self.key);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = accepted(request.send().await?).await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        let answer = if text.is_empty() {
            Ok(Value::Null)
        } else {
            serde_json::from_str(&text)
        };
        Ok((
            status,
            answer.map_err(|error| Failure::of(format!("{path}: no JSON"), &error))?,
        ))
    }

    /// Downloads without a key, and returns size and SHA-256 of what came.
    pub(super) async fn download(
        &self,
        story: &Story,
        link: &str,
        to: &Path,
    ) -> Result<(u64, String), Failure> {
        let plain = link.split('?').next().unwrap_or_default();
        story.typed(&format!("curl '{plain}?token=…' -o {}", to.display()));
        let response = accepted(self.http.get(link).send().await?).await?;
        let mut file = fs::File::create(to)?;
        let mut digest = Context::new(&SHA256);
        let mut received_bytes = 0;
        let mut stream = response.bytes_stream();
        while let Some(piece) = stream.next().await {
            let piece = piece?;
            received_bytes += piece.len() as u64;
            digest.update(&piece);
            file.write_all(&piece)?;
        }
        file.flush()?;
        Ok((received_bytes, hex::encode(digest.finish())))
    }
}

async fn accepted(response: Response) -> Result<Response, Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let path = response.url().path().to_owned();
    Err(Failure::new(format!(
        "{path} answered {status}: {}",
        response.text().await?
    )))
}
