//! Reads a panel's answer about a server: Pterodactyl's, Pelican's, Pyrodactyl's or Calagopus's.
//!
//! Shapes that mean the same are all accepted. But what is unknown or has another type never grants
//! anything.

use std::collections::BTreeSet;

use serde_json::Value;

use holdfast_domain::panel::{PanelConflict, PanelServer};
use holdfast_domain::{Permission, ServerAccess, ServerId};

/// The permission that stands for all of them.
const EVERYTHING: &str = "*";
/// The longest text of a panel's error that is passed on, in characters.
const DETAIL_MAX: usize = 300;

/// Reads the answer to `GET /api/client/servers/{server}`. Returns `None` if it is not one.
/// `with_key` says whether the caller has an API key, and no session.
pub(super) fn server(body: &[u8], with_key: bool) -> Option<PanelServer> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    match answer.get("server") {
        Some(attributes) => calagopus(attributes, with_key),
        None => pterodactyl(&answer),
    }
}

fn pterodactyl(answer: &Value) -> Option<PanelServer> {
    let (attributes, meta) = (answer.get("attributes")?, answer.get("meta")?);
    let names = names(meta.get("user_permissions")?)?;
    let access = if meta.get("is_server_owner") == Some(&Value::Bool(true)) {
        ServerAccess::Owner
    } else if names.contains(EVERYTHING) {
        ServerAccess::Admin
    } else {
        subuser(names.iter().filter_map(|name| Permission::parse(name)))
    };
    let is_under_maintenance = is_set(attributes, "is_node_under_maintenance");
    read(attributes, access, is_under_maintenance)
}

/// Calagopus shows the permissions of the user, even if the key has fewer. So a key has none here.
/// It also shows `*` to staff who may only see servers, so that `*` does not count.
fn calagopus(attributes: &Value, with_key: bool) -> Option<PanelServer> {
    let names = names(attributes.get("permissions")?)?;
    let access = if with_key {
        ServerAccess::Subuser(BTreeSet::new())
    } else if attributes.get("is_owner") == Some(&Value::Bool(true)) {
        ServerAccess::Owner
    } else {
        let singular = names.iter().filter_map(|name| {
            let (group, rest) = name.split_once("s.")?;
            Permission::parse(&format!("{group}.{rest}"))
        });
        subuser(singular)
    };
    let is_under_maintenance = is_set(attributes, "node_maintenance_enabled");
    read(attributes, access, is_under_maintenance)
}

fn read(
    attributes: &Value,
    access: ServerAccess,
    is_under_maintenance: bool,
) -> Option<PanelServer> {
    let id = ServerId::parse(attributes.get("uuid")?.as_str()?)?;
    // A panel allows no backups if the limit is null.
    let limit = attributes.pointer("/feature_limits/backups");
    let limit = limit.and_then(Value::as_u64).unwrap_or(0);
    Some(PanelServer {
        id,
        access,
        conflict: conflict(attributes, is_under_maintenance),
        backup_limit: u32::try_from(limit).unwrap_or(u32::MAX),
    })
}

/// Returns the state that the panel would name first.
fn conflict(attributes: &Value, is_under_maintenance: bool) -> Option<PanelConflict> {
    let status = attributes.get("status").filter(|status| !status.is_null());
    let status = status.map(|status| status.as_str().unwrap_or_default());
    if status == Some("suspended") || is_set(attributes, "is_suspended") {
        return Some(PanelConflict::Suspended);
    }
    if is_under_maintenance {
        return Some(PanelConflict::NodeMaintenance);
    }
    match status {
        Some("installing" | "install_failed") => Some(PanelConflict::NotInstalled),
        Some("restoring_backup") => Some(PanelConflict::Restoring),
        _ if is_set(attributes, "is_transferring") => Some(PanelConflict::Transferring),
        Some(_) => Some(PanelConflict::OtherStatus),
        None => None,
    }
}

/// Returns whether a field is there and not false.
fn is_set(attributes: &Value, field: &str) -> bool {
    match attributes.get(field) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(_) => true,
    }
}

/// Reads a list of names. PHP writes a list with gaps as an object.
fn names(list: &Value) -> Option<BTreeSet<&str>> {
    match list {
        Value::Array(values) => Some(values.iter().filter_map(Value::as_str).collect()),
        Value::Object(values) => Some(values.values().filter_map(Value::as_str).collect()),
        _ => None,
    }
}

fn subuser(permissions: impl Iterator<Item = Permission>) -> ServerAccess {
    ServerAccess::Subuser(permissions.collect())
}

/// The first error in a panel's answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PanelError {
    pub(super) code: String,
    /// The panel's text for the user, without control characters.
    pub(super) detail: String,
}

/// Reads the first error in a panel's answer. Returns `None` if the answer is no error of a panel,
/// but for example the page of a web server.
pub(super) fn error(body: &[u8]) -> Option<PanelError> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let first = answer.pointer("/errors/0")?;
    let text = |field| {
        let text = first.get(field).and_then(Value::as_str);
        text.unwrap_or_default()
    };
    let detail = match first {
        Value::String(text) => text,
        _ => text("detail"),
    };
    Some(PanelError {
        code: text("code").to_owned(),
        detail: detail
            .chars()
            .filter(|character| !character.is_control())
            .take(DETAIL_MAX)
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "d3aac109-45e1-4c23-9a84-c8d5f06b93a1";

    fn read_as(answer: &Value, with_key: bool) -> Option<PanelServer> {
        server(answer.to_string().as_bytes(), with_key)
    }

    fn pterodactyl_answer(attributes: &Value, meta: &Value) -> Value {
        let mut all = json!({ "uuid": ID, "feature_limits": { "backups": 3 }, "status": null });
        for (name, value) in attributes.as_object().expect("an object") {
            all[name] = value.clone();
        }
        json!({ "object": "server", "attributes": all, "meta": meta })
    }

    fn subuser_of(permissions: &[Permission]) -> ServerAccess {
        ServerAccess::Subuser(permissions.iter().copied().collect())
    }

    #[test]
    fn only_known_permissions_of_the_right_type_grant_access() {
        let access = |meta: Value| {
            read_as(&pterodactyl_answer(&json!({}), &meta), true).map(|server| server.access)
        };
        let none = Some(subuser_of(&[]));
        for (meta, expected) in [
            (
                json!({ "is_server_owner": true, "user_permissions": ["*"] }),
                Some(ServerAccess::Owner),
            ),
            (
                json!({ "is_server_owner": false,
                        "user_permissions": ["*", "admin.websocket.errors"] }),
                Some(ServerAccess::Admin),
            ),
            (
                json!({ "is_server_owner": false,
                        "user_permissions": ["backup.read", "control.start", "backup.fly", 7] }),
                Some(subuser_of(&[Permission::Read])),
            ),
            // A list with gaps, as PHP writes it.
            (
                json!({ "user_permissions": { "0": "websocket.connect", "4": "backup.create" } }),
                Some(subuser_of(&[Permission::Create])),
            ),
            // None of these is the word for everything.
            (
                json!({ "user_permissions": [["*"], "backup.*", "**", "* ", true] }),
                none.clone(),
            ),
            (
                json!({ "is_server_owner": 1, "user_permissions": [] }),
                none.clone(),
            ),
            (
                json!({ "is_server_owner": "true", "user_permissions": [] }),
                none.clone(),
            ),
            (json!({ "user_permissions": [] }), none),
            // Not an answer.
            (json!({ "is_server_owner": true }), None),
            (
                json!({ "is_server_owner": true, "user_permissions": "*" }),
                None,
            ),
            (
                json!({ "is_server_owner": true, "user_permissions": null }),
                None,
            ),
        ] {
            assert_eq!(access(meta.clone()), expected, "{meta}");
        }
    }

    #[test]
    fn a_server_is_in_the_state_that_the_panel_names_first() {
        use PanelConflict::{
            NodeMaintenance, NotInstalled, OtherStatus, Restoring, Suspended, Transferring,
        };
        let meta = json!({ "is_server_owner": true, "user_permissions": ["*"] });
        for (attributes, expected) in [
            (json!({}), None),
            (
                json!({ "is_suspended": false, "is_transferring": null }),
                None,
            ),
            (json!({ "status": "suspended" }), Some(Suspended)),
            (json!({ "is_suspended": true }), Some(Suspended)),
            (
                json!({ "is_suspended": 1, "status": "installing" }),
                Some(Suspended),
            ),
            (
                json!({ "is_node_under_maintenance": true }),
                Some(NodeMaintenance),
            ),
            (json!({ "status": "installing" }), Some(NotInstalled)),
            (json!({ "status": "install_failed" }), Some(NotInstalled)),
            (json!({ "status": "restoring_backup" }), Some(Restoring)),
            (json!({ "is_transferring": true }), Some(Transferring)),
            (
                json!({ "is_transferring": true, "status": "reinstall_failed" }),
                Some(Transferring),
            ),
            (json!({ "status": "reinstall_failed" }), Some(OtherStatus)),
            (json!({ "status": "frozen" }), Some(OtherStatus)),
            (json!({ "status": 3 }), Some(OtherStatus)),
        ] {
            let answer = pterodactyl_answer(&attributes, &meta);
            let found = read_as(&answer, true).expect("an answer");
            assert_eq!(found.conflict, expected, "{attributes}");
        }
    }

    #[test]
    fn no_limit_of_backups_is_a_limit_of_0() {
        let meta = json!({ "is_server_owner": true, "user_permissions": ["*"] });
        for (limit, expected) in [
            (json!(3), 3),
            (json!(0), 0),
            (json!(null), 0),
            (json!(-1), 0),
            (json!("3"), 0),
            (json!(u64::MAX), u32::MAX),
        ] {
            let limits = json!({ "feature_limits": { "backups": limit } });
            let found = read_as(&pterodactyl_answer(&limits, &meta), true).expect("an answer");
            assert_eq!(found.backup_limit, expected, "{limits}");
        }
    }

    #[test]
    fn calagopus_says_what_a_session_may_do_and_not_what_a_key_may() {
        let answer = |permissions: Value, is_owner: bool| {
            json!({ "server": {
                "uuid": ID, "permissions": permissions, "is_owner": is_owner,
                "is_suspended": false, "is_transferring": false, "status": null,
                "node_maintenance_enabled": false, "feature_limits": { "backups": 2 },
            } })
        };
        let access = |answer: &Value, with_key| read_as(answer, with_key).expect("one").access;
        let owner = answer(json!(["*"]), true);
        assert_eq!(access(&owner, false), ServerAccess::Owner);
        assert_eq!(access(&owner, true), subuser_of(&[]));
        let staff = answer(json!(["*"]), false);
        assert_eq!(access(&staff, false), subuser_of(&[]));
        let names = json!([
            "backups.read",
            "schedules.update",
            "backup.create",
            "files.read"
        ]);
        let expected = subuser_of(&[Permission::Read, Permission::UpdateSchedules]);
        assert_eq!(access(&answer(names, false), false), expected);
        let mut closed = owner;
        closed["server"]["node_maintenance_enabled"] = json!(true);
        let conflict = read_as(&closed, false).expect("an answer").conflict;
        assert_eq!(conflict, Some(PanelConflict::NodeMaintenance));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let meta = json!({ "is_server_owner": true, "user_permissions": ["*"] });
        for body in [
            "".to_owned(),
            "<html>".to_owned(),
            "null".to_owned(),
            "[]".to_owned(),
            json!({ "attributes": { "uuid": ID } }).to_string(),
            json!({ "attributes": { "uuid": "x" }, "meta": meta }).to_string(),
            json!({ "attributes": { "uuid": ID.replace('-', "") }, "meta": meta }).to_string(),
            json!({ "attributes": ID, "meta": meta }).to_string(),
            json!({ "server": { "uuid": ID, "is_owner": true } }).to_string(),
        ] {
            assert_eq!(server(body.as_bytes(), false), None, "{body}");
        }
    }

    #[test]
    fn the_text_of_an_error_is_short_and_plain() {
        let body = json!({ "errors": [{ "code": "X", "detail": "a\r\nb\u{1b}c" }] }).to_string();
        assert_eq!(
            error(body.as_bytes()),
            Some(PanelError {
                code: "X".into(),
                detail: "abc".into()
            })
        );
        let body = json!({ "errors": ["x".repeat(1000)] }).to_string();
        assert_eq!(
            error(body.as_bytes()).expect("an error").detail.len(),
            DETAIL_MAX
        );
        for body in [&b"<html>"[..], b"", b"{}", b"[]", b"{\"errors\":[]}"] {
            assert_eq!(error(body), None, "{}", body.escape_ascii());
        }
    }
}
