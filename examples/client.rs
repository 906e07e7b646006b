//! A client of the API: create a backup, wait until it is complete, download it, and compare its
//! SHA-256.
//!
//! `docs/openapi.json` describes the requests and answers used here.
//!
//! ```text
//! URL=http://127.0.0.1:8080 SERVER=… KEY=ptlc_… cargo run -p holdfast-cli --example client
//! ```
//!
//! `SERVER` is a server's identifier, `KEY` a client key; the README creates both. The archive is
//! written to the current directory.
#![expect(clippy::print_stdout, reason = "an example speaks to people")]

use std::env;
use std::error::Error;
use std::io::Write as _;
use std::time::Duration;

use fs_err as fs;
use futures_util::StreamExt as _;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The pause between two looks at the backup.
const POLL: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (url, server, key) = (env::var("URL")?, env::var("SERVER")?, env::var("KEY")?);
    let backups = format!("{url}/api/client/servers/{server}/backups");
    let http = Client::new();

    let get = |path: &str| http.get(format!("{backups}/{path}")).bearer_auth(&key);

    let request = json!({ "name": "From the example", "ignored": "*.log" });
    let created = answer(http.post(&backups).bearer_auth(&key).json(&request)).await?;
    let uuid = text(&created, "uuid")?.to_owned();
    println!("created {uuid}");

    // A worker makes the backup after the answer.
    let completed = loop {
        let shown = answer(get(&uuid)).await?;
        match text(&shown, "status")? {
            "completed" => break shown,
            "failed" => return Err(format!("the backup failed: {shown}").into()),
            _ => tokio::time::sleep(POLL).await,
        }
    };
    let hash = text(&completed, "sha256_hash")?;
    println!("completed, SHA-256 {hash}");

    // The link is valid for an hour and needs no key. It may lead to a bucket.
    let link = answer(get(&format!("{uuid}/download"))).await?;
    let path = format!("{uuid}.tar.gz");
    let received = download(&http, text(&link, "url")?, &path).await?;
    if received != hash {
        return Err(format!("{path}: SHA-256 is {received}, not {hash}").into());
    }
    println!("downloaded {path}, SHA-256 is correct");
    Ok(())
}

/// Sends a request and returns the `attributes` of its answer.
async fn answer(request: RequestBuilder) -> Result<Value, Box<dyn Error>> {
    let response = request.send().await?;
    let status = response.status();
    let mut body: Value = response.json().await?;
    if !status.is_success() {
        // Every refusal has the same shape: {"errors":[{"code","status","detail"}]}.
        return Err(format!("{status}: {}", body["errors"][0]["detail"]).into());
    }
    Ok(body["attributes"].take())
}

fn text<'a>(attributes: &'a Value, field: &str) -> Result<&'a str, Box<dyn Error>> {
    let value = attributes[field].as_str();
    value.ok_or_else(|| format!("no {field} in {attributes}").into())
}

/// Downloads a file in pieces and returns its SHA-256.
async fn download(http: &Client, link: &str, path: &str) -> Result<String, Box<dyn Error>> {
    let mut pieces = http
        .get(link)
        .send()
        .await?
        .error_for_status()?
        .bytes_stream();
    let mut file = fs::File::create(path)?;
    let mut digest = Sha256::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        digest.update(&piece);
        file.write_all(&piece)?;
    }
    Ok(hex::encode(digest.finalize()))
}
