//! `holdfast client servers`, `ls` and `show`.

use serde_json::{Map, Value, json};

use super::api::{Api, ApiPages};
use super::find::{self, Latest, short_id, text};
use crate::error::CommandError;
use crate::output::{self, RowWriter};
use crate::progress::size;

/// Lists the servers of the caller.
pub(super) async fn servers(api: &Api, json: bool) -> Result<(), CommandError> {
    let row = |server: &Value| {
        json!({
            "id": server["identifier"],
            "name": server["name"],
            "node": server["node"],
            "state": server["status"].as_str().unwrap_or("normal"),
            "backup_limit": server["feature_limits"]["backups"],
        })
    };
    list(ApiPages::new(api, "/api/client"), json, row).await
}

/// Lists the backups of a server.
pub(super) async fn backups(api: &Api, json: bool, server: &str) -> Result<(), CommandError> {
    let server = find::server(api, server).await?;
    let row = |backup: &Value| {
        let restore = text(&backup["restore"], "status");
        let status = match restore {
            "queued" | "running" => "restoring",
            _ if backup["is_damaged"] == true => "damaged",
            _ => text(backup, "status"),
        };
        json!({
            "id": short_id(backup),
            "created": backup["created_at"],
            "status": status,
            "size": backup_size(backup),
            "locked": yes(&backup["is_locked"]),
            "notes": backup["notes"]["count"],
            "name": backup["name"],
        })
    };
    list(ApiPages::new(api, &server.backups()), json, row).await
}

/// Shows a backup.
pub(super) async fn show(
    api: &Api,
    json: bool,
    server: &str,
    backup: &str,
) -> Result<(), CommandError> {
    let server = find::server(api, server).await?;
    let backup = find::backup(api, &server, backup, Latest::Any)
        .await?
        .attributes;
    print_backup(json, &backup)
}

/// Prints a backup: all fields as JSON, and otherwise those that say something.
pub(super) fn print_backup(json: bool, backup: &Value) -> Result<(), CommandError> {
    if json {
        return output::result(true, backup);
    }
    let mut shown = Map::new();
    for (name, value) in backup.as_object().into_iter().flatten() {
        let value = match name.as_str() {
            "bytes" | "reused_bytes" | "read_bytes" | "stored_bytes" => {
                value.as_u64().map(size).into()
            }
            // They repeat others.
            "checksum" | "is_successful" => Value::Null,
            "schedule" => value["name"].clone(),
            "progress" if value.is_object() => {
                let percent = value["percent"].as_f64().unwrap_or_default();
                format!("{}, {percent:.0} %", text(value, "phase")).into()
            }
            "restore" | "verification" if value.is_object() => {
                let words =
                    ["status", "finished_at", "error", "note"].map(|part| text(value, part));
                let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
                words.join(", ").into()
            }
            "notes" => value["first"].clone(),
            _ => value.clone(),
        };
        if !is_nothing(&value) {
            shown.insert(name.clone(), value);
        }
    }
    let notes = shown.remove("notes");
    output::result(false, &Value::Object(shown))?;
    for note in notes.iter().filter_map(Value::as_array).flatten() {
        let note = note.as_str().unwrap_or_default();
        output::line(&format!("note: {}", output::visible(note)))?;
    }
    Ok(())
}

/// Prints a list page by page: all fields as JSON, and otherwise rows.
async fn list(
    mut pages: ApiPages<'_>,
    json: bool,
    row: impl Fn(&Value) -> Value,
) -> Result<(), CommandError> {
    let mut writer = RowWriter::new(json);
    while let Some(objects) = pages.next().await? {
        if objects.is_empty() {
            continue;
        }
        match json {
            true => writer.write(&objects)?,
            false => writer.write(&objects.iter().map(&row).collect::<Vec<_>>())?,
        }
    }
    writer.finish()
}

fn backup_size(backup: &Value) -> Value {
    match backup["bytes"].as_u64() {
        Some(bytes) if bytes > 0 => size(bytes).into(),
        _ => Value::Null,
    }
}

fn yes(flag: &Value) -> Value {
    match flag {
        Value::Bool(true) => "yes".into(),
        _ => Value::Null,
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(values) => values.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}
