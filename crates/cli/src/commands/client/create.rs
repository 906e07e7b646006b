//! `holdfast client create`.

use std::path::PathBuf;

use clap::Args;
use reqwest::Method;
use serde_json::{Map, Value};

use super::api::{Api, take};
use super::find::{self, FoundBackup, short_id, text};
use super::wait::{self, Awaited};
use crate::error::CommandError;
use crate::output;

/// The options of `holdfast client create`.
#[derive(Debug, Args)]
pub struct CreateBackupOptions {
    /// UUID, short ID or name of the server
    server: String,
    /// Name of the backup [default: the time]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Pattern of files to leave out, as in .gitignore; repeatable [default: the server's own]
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true)]
    ignore: Vec<String>,
    /// File with such patterns, one a line
    #[arg(long, value_name = "FILE")]
    ignore_file: Option<PathBuf>,
    /// Protects the backup from deletion
    #[arg(long)]
    lock: bool,
    /// Reads and packs every file, whatever an earlier backup has
    #[arg(long)]
    full: bool,
    /// Waits until the backup has ended
    #[arg(long)]
    wait: bool,
}

pub(super) async fn run(
    api: &Api,
    json: bool,
    options: CreateBackupOptions,
) -> Result<(), CommandError> {
    let server = find::server(api, &options.server).await?;
    let mut patterns = options.ignore;
    if let Some(path) = &options.ignore_file {
        let text = fs_err::read_to_string(path)?;
        patterns.extend(text.lines().map(str::to_owned));
    }
    let mut body = Map::new();
    if let Some(name) = options.name {
        body.insert("name".to_owned(), name.into());
    }
    if !patterns.is_empty() {
        body.insert("ignored".to_owned(), patterns.into());
    }
    for (field, is_set) in [("is_locked", options.lock), ("full", options.full)] {
        if is_set {
            body.insert(field.to_owned(), true.into());
        }
    }
    let path = server.backups();
    let mut created = api
        .send(Method::POST, &path, Some(&Value::Object(body)))
        .await?;
    let backup = FoundBackup::new(&server, take(&mut created, "attributes"))?;
    if options.wait {
        return wait::finish(api, json, backup, Awaited::Creation).await;
    }
    if json {
        return output::result(true, &backup.attributes);
    }
    let name = output::visible(text(&backup.attributes, "name"));
    let id = short_id(&backup.attributes);
    output::line(&format!("backup `{name}` ({id}) is being created"))
}
