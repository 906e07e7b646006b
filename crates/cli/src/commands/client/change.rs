//! `holdfast client cancel`, `lock`, `unlock`, `rename`, `rm` and `verify`.

use reqwest::Method;
use serde_json::{Value, json};

use super::api::{Api, take};
use super::find::{self, FoundBackup, Latest, short_id, text};
use super::wait::{self, Awaited};
use crate::error::CommandError;
use crate::output;

/// Cancels a backup.
pub(super) async fn cancel(
    api: &Api,
    json: bool,
    server: &str,
    backup: &str,
) -> Result<(), CommandError> {
    let backup = found(api, server, backup, Latest::Any).await?;
    send(api, Method::POST, &backup, "cancel", None).await?;
    report(api, json, &backup, "cancelled").await
}

/// Locks or unlocks a backup.
pub(super) async fn lock(
    api: &Api,
    json: bool,
    server: &str,
    backup: &str,
    is_locked: bool,
) -> Result<(), CommandError> {
    let backup = found(api, server, backup, Latest::Completed).await?;
    let body = json!({ "is_locked": is_locked });
    send(api, Method::POST, &backup, "lock", Some(&body)).await?;
    let done = if is_locked { "locked" } else { "unlocked" };
    report(api, json, &backup, done).await
}

/// Renames a backup.
pub(super) async fn rename(
    api: &Api,
    json: bool,
    server: &str,
    backup: &str,
    name: &str,
) -> Result<(), CommandError> {
    let backup = found(api, server, backup, Latest::Completed).await?;
    send(
        api,
        Method::PUT,
        &backup,
        "rename",
        Some(&json!({ "name": name })),
    )
    .await?;
    report(api, json, &backup, "renamed").await
}

/// Deletes a backup.
pub(super) async fn remove(
    api: &Api,
    json: bool,
    server: &str,
    backup: &str,
) -> Result<(), CommandError> {
    let backup = found(api, server, backup, Latest::Completed).await?;
    api.send(Method::DELETE, &backup.path, None).await?;
    if json {
        let uuid = &backup.attributes["uuid"];
        return output::result(true, &json!({ "uuid": uuid, "deleted": true }));
    }
    output::line(&sentence(&backup.attributes, "deleted"))
}

/// Has a backup verified.
pub(super) async fn verify(
    api: &Api,
    json: bool,
    server: &str,
    backup: &str,
    wait: bool,
) -> Result<(), CommandError> {
    let backup = found(api, server, backup, Latest::Completed).await?;
    let mut answer = send(api, Method::POST, &backup, "verify", None).await?;
    let backup = FoundBackup {
        attributes: take(&mut answer, "attributes"),
        ..backup
    };
    if wait {
        return wait::finish(api, json, backup, Awaited::Verification).await;
    }
    if json {
        return output::result(true, &backup.attributes);
    }
    output::line(&sentence(&backup.attributes, "being verified"))
}

async fn found(
    api: &Api,
    server: &str,
    backup: &str,
    latest: Latest,
) -> Result<FoundBackup, CommandError> {
    let server = find::server(api, server).await?;
    find::backup(api, &server, backup, latest).await
}

async fn send(
    api: &Api,
    method: Method,
    backup: &FoundBackup,
    action: &str,
    body: Option<&Value>,
) -> Result<Value, CommandError> {
    let path = format!("{}/{action}", backup.path);
    Ok(api.send(method, &path, body).await?)
}

/// Prints what was done: as JSON, the backup as it is now.
async fn report(
    api: &Api,
    json: bool,
    backup: &FoundBackup,
    done: &str,
) -> Result<(), CommandError> {
    let now = api.get(&backup.path).await?;
    let now = &now["attributes"];
    if json {
        return output::result(true, now);
    }
    output::line(&sentence(now, done))
}

fn sentence(backup: &Value, done: &str) -> String {
    let name = output::visible(text(backup, "name"));
    format!("backup `{name}` ({}) is {done}", short_id(backup))
}
