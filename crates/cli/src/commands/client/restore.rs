//! `holdfast client restore`.

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::api::{Api, take};
use super::find::{self, FoundBackup, Latest, short_id, text};
use super::wait::{self, Awaited};
use crate::error::CommandError;
use crate::output;

/// The options of `holdfast client restore`.
#[derive(Debug, Args)]
pub struct RestoreBackupOptions {
    /// UUID, short ID or name of the server
    server: String,
    /// UUID, short ID or name of the backup, or `latest`
    backup: String,
    /// File or folder of the backup to restore; repeatable [default: everything]
    #[arg(long, value_name = "PATH")]
    path: Vec<String>,
    /// Keeps files that are not in the backup. Without it, they are removed: everywhere, or with
    /// --path in these folders
    #[arg(long)]
    keep_other_files: bool,
    /// Waits until the restore has ended
    #[arg(long)]
    wait: bool,
}

pub(super) async fn run(
    api: &Api,
    json: bool,
    options: RestoreBackupOptions,
) -> Result<(), CommandError> {
    let server = find::server(api, &options.server).await?;
    let backup = find::backup(api, &server, &options.backup, Latest::Completed).await?;
    let mut body = json!({ "truncate": !options.keep_other_files });
    if !options.path.is_empty() {
        check_knows_paths(api).await?;
        body["paths"] = options.path.into();
    }
    let path = format!("{}/restore", backup.path);
    api.send(Method::POST, &path, Some(&body)).await?;
    let mut now = api.get(&backup.path).await?;
    let backup = FoundBackup {
        attributes: take(&mut now, "attributes"),
        ..backup
    };
    if options.wait {
        return wait::finish(api, json, backup, Awaited::Restore).await;
    }
    if json {
        return output::result(true, &backup.attributes);
    }
    let (id, name) = (
        short_id(&backup.attributes),
        text(&backup.attributes, "name"),
    );
    output::line(&format!(
        "backup `{}` ({id}) is being restored",
        output::visible(name)
    ))
}

/// Checks that the service can restore single paths. A service that cannot would ignore the field,
/// and replace all files.
async fn check_knows_paths(api: &Api) -> Result<(), CommandError> {
    let document = api.get("/api/openapi.json").await?;
    match document["components"]["schemas"]["RestoreBody"]["properties"]["paths"] {
        Value::Null => Err(CommandError::new(
            "this version of the service restores only whole backups: restore without --path, or \
             take single files with `holdfast client cat`",
        )),
        _ => Ok(()),
    }
}
