//! Servers, backups and schedules by ID or by name.
//!
//! An ID always wins over a name, so that the name of something else cannot take its place.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use uuid::Uuid;

use super::api::{Api, ApiPages, take};
use crate::error::CommandError;

/// The word for the newest backup.
const LATEST: &str = "latest";
/// The number of hexadecimal digits of a short ID.
const SHORT_ID: usize = 8;
/// The most candidates that an error lists.
const CANDIDATES: usize = 10;
/// The characters that are percent-encoded in a part of a path.
const PATH_PART: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A server of the caller.
#[derive(Clone, Debug)]
pub(super) struct FoundServer {
    pub(super) name: String,
    uuid: Uuid,
}

impl FoundServer {
    /// Returns the path of the server's backups in the API.
    pub(super) fn backups(&self) -> String {
        format!("/api/client/servers/{}/backups", self.uuid)
    }

    /// Returns the path of the server's schedules in the API.
    pub(super) fn schedules(&self) -> String {
        format!("/api/client/servers/{}/schedules", self.uuid)
    }
}

/// The backups among which `latest` is the newest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Latest {
    Any,
    Completed,
}

/// A backup, and its path in the API.
#[derive(Clone, Debug)]
pub(super) struct FoundBackup {
    pub(super) path: String,
    pub(super) uuid: Uuid,
    pub(super) attributes: Value,
}

impl FoundBackup {
    /// Takes a backup from an answer.
    ///
    /// # Errors
    /// If its UUID is none. It becomes a part of paths and file names.
    pub(super) fn new(server: &FoundServer, attributes: Value) -> Result<Self, CommandError> {
        let uuid = uuid(&attributes)?;
        Ok(Self {
            path: format!("{}/{uuid}", server.backups()),
            uuid,
            attributes,
        })
    }
}

fn uuid(object: &Value) -> Result<Uuid, CommandError> {
    Uuid::parse_str(text(object, "uuid"))
        .map_err(|_| CommandError::new("the service answered with an object without a UUID"))
}

/// Returns a text field of an object; an empty text if it is none.
pub(super) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

/// Returns the short ID of a backup: the first eight characters of its UUID.
pub(super) fn short_id(backup: &Value) -> &str {
    let uuid = text(backup, "uuid");
    uuid.get(..SHORT_ID).unwrap_or(uuid)
}

/// Finds a server by UUID, short ID or name.
pub(super) async fn server(api: &Api, asked: &str) -> Result<FoundServer, CommandError> {
    let found = |attributes: &Value| {
        let name = text(attributes, "name").to_owned();
        let uuid = uuid(attributes)?;
        Ok(FoundServer { name, uuid })
    };
    if Uuid::parse_str(asked).is_ok() || is_short_id(asked) {
        let path = format!("/api/client/servers/{}", path_part(asked));
        match api.get(&path).await {
            Ok(server) => return found(&server["attributes"]),
            Err(failure) if failure.is_missing() => {}
            Err(failure) => return Err(failure.into()),
        }
    }
    let mut candidates = Vec::new();
    let mut pages = ApiPages::new(api, "/api/client");
    while let Some(servers) = pages.next().await? {
        let named = servers
            .into_iter()
            .filter(|server| text(server, "name") == asked);
        candidates.extend(named);
    }
    let describe = |server: &Value| {
        format!(
            "{} (node {})",
            text(server, "identifier"),
            text(server, "node")
        )
    };
    let missing = || {
        CommandError::new(format!(
            "there is no server `{asked}`: `holdfast client servers` lists those that the key may \
             see"
        ))
    };
    let server = only("servers", asked, &candidates, describe)?;
    found(server.ok_or_else(missing)?)
}

/// Finds a backup of a server by UUID, short ID, name or `latest`.
pub(super) async fn backup(
    api: &Api,
    server: &FoundServer,
    asked: &str,
    latest: Latest,
) -> Result<FoundBackup, CommandError> {
    let list = server.backups();
    let found = |attributes| FoundBackup::new(server, attributes);
    let missing = || {
        CommandError::new(format!(
            "server `{0}` has no backup `{asked}`: `holdfast client ls {0}` lists them",
            server.name
        ))
    };
    if let Ok(uuid) = Uuid::parse_str(asked) {
        return match api.get(&format!("{list}/{uuid}")).await {
            Ok(mut backup) => found(take(&mut backup, "attributes")),
            Err(failure) if failure.is_missing() => Err(missing()),
            Err(failure) => Err(failure.into()),
        };
    }
    let (mut by_id, mut by_name) = (Vec::new(), Vec::new());
    let mut pages = ApiPages::new(api, &list);
    while let Some(backups) = pages.next().await? {
        for backup in backups {
            let counts = latest == Latest::Any || backup["status"] == "completed";
            if asked == LATEST && counts {
                return found(backup);
            }
            if is_short_id(asked) && short_id(&backup).eq_ignore_ascii_case(asked) {
                by_id.push(backup);
            } else if text(&backup, "name") == asked {
                by_name.push(backup);
            }
        }
    }
    if asked == LATEST {
        let kind = match latest {
            Latest::Any => "",
            Latest::Completed => "completed ",
        };
        let name = &server.name;
        return Err(CommandError::new(format!(
            "server `{name}` has no {kind}backup"
        )));
    }
    let describe = |backup: &Value| {
        let (name, created) = (text(backup, "name"), text(backup, "created_at"));
        match asked == name {
            true => format!("{} of {created}", short_id(backup)),
            false => format!("{} of {created}", text(backup, "uuid")),
        }
    };
    let candidates = if by_id.is_empty() { by_name } else { by_id };
    let backup = only("backups", asked, &candidates, describe)?;
    found(backup.cloned().ok_or_else(missing)?)
}

/// Finds a schedule of a server by its ID or name. Returns its attributes.
pub(super) async fn schedule(
    api: &Api,
    server: &FoundServer,
    asked: &str,
) -> Result<Value, CommandError> {
    let mut list = api.get(&server.schedules()).await?;
    let Value::Array(objects) = take(&mut list, "data") else {
        return Err(CommandError::new(
            "the service answered with no list of schedules",
        ));
    };
    let schedules: Vec<Value> = objects
        .into_iter()
        .map(|mut object| take(&mut object, "attributes"))
        .collect();
    let id = asked.parse::<i64>().ok();
    let has_id = |schedule: &&Value| id.is_some_and(|id| schedule["id"] == id);
    if let Some(schedule) = schedules.iter().find(has_id) {
        return Ok(schedule.clone());
    }
    let named = schedules
        .into_iter()
        .filter(|schedule| text(schedule, "name") == asked);
    let candidates: Vec<Value> = named.collect();
    let schedule = only("schedules", asked, &candidates, |schedule| {
        schedule["id"].to_string()
    })?;
    schedule.cloned().ok_or_else(|| {
        CommandError::new(format!(
            "server `{0}` has no schedule `{asked}`: `holdfast client schedule list {0}` lists \
             them",
            server.name
        ))
    })
}

/// Encodes a text for a part of a path.
pub(super) fn path_part(text: &str) -> String {
    utf8_percent_encode(text, &PATH_PART).to_string()
}

/// Returns the only candidate, or `None` if there is none.
///
/// # Errors
/// If there are several: the error lists them.
fn only<'a>(
    kind: &str,
    asked: &str,
    candidates: &'a [Value],
    describe: impl Fn(&Value) -> String,
) -> Result<Option<&'a Value>, CommandError> {
    if candidates.len() < 2 {
        return Ok(candidates.first());
    }
    let mut listed: Vec<String> = candidates.iter().take(CANDIDATES).map(describe).collect();
    if candidates.len() > CANDIDATES {
        listed.push(format!("and {} more", candidates.len() - CANDIDATES));
    }
    let (count, listed) = (candidates.len(), listed.join(", "));
    Err(CommandError::new(format!(
        "`{asked}` is the name of {count} {kind}, use an ID: {listed}"
    )))
}

fn is_short_id(text: &str) -> bool {
    text.len() == SHORT_ID && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
