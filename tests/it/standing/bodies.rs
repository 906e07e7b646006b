//! A valid body for each route that can change something.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::Bodies;

/// Returns the bodies. A server can be created below `root`.
pub(super) fn bodies(root: &Path) -> Bodies {
    let server = "/api/client/servers/{server}/backups";
    let none = Value::Null;
    let about = |path: &str| -> &'static str { format!("{server}/{{backup}}{path}").leak() };
    let schedules = |path: &str| -> &'static str {
        format!("/api/client/servers/{{server}}/schedules{path}").leak()
    };
    let operator = |path: &str| -> &'static str { format!("/api/application{path}").leak() };
    let state = json!({ "state": "suspended" });
    let schedule = json!({
        "name": "a", "minute": "0", "hour": "4", "day_of_month": "*", "month": "*",
        "day_of_week": "*", "is_active": true,
    });
    let task = json!({ "action": "backup", "time_offset": 0 });
    let new = json!({ "owner": "owner@example.com", "name": "new", "dir": root.join("new") });
    BTreeMap::from([
        (
            ("POST", server),
            json!({ "name": "a", "is_locked": true, "full": true }),
        ),
        (("DELETE", about("")), none.clone()),
        (("POST", about("/restore")), json!({ "truncate": false })),
        (("POST", about("/lock")), json!({ "is_locked": true })),
        (("POST", about("/unlock")), none.clone()),
        (("PUT", about("/rename")), json!({ "name": "b" })),
        (("POST", about("/cancel")), none.clone()),
        (("POST", about("/verify")), none.clone()),
        (("POST", schedules("")), schedule.clone()),
        (("POST", schedules("/{schedule}")), schedule),
        (("PATCH", schedules("/{schedule}")), json!({ "hour": "5" })),
        (("DELETE", schedules("/{schedule}")), none.clone()),
        (("POST", schedules("/{schedule}/execute")), none.clone()),
        (("POST", schedules("/{schedule}/tasks")), task.clone()),
        (("POST", schedules("/{schedule}/tasks/{task}")), task),
        (
            ("DELETE", schedules("/{schedule}/tasks/{task}")),
            none.clone(),
        ),
        (
            ("POST", operator("/users")),
            json!({ "email": "new@example.com" }),
        ),
        (
            ("PATCH", operator("/users/{user}")),
            json!({ "email": "b@example.com" }),
        ),
        (("DELETE", operator("/users/{user}")), none.clone()),
        (
            ("POST", operator("/keys")),
            json!({ "user": "owner@example.com" }),
        ),
        (("DELETE", operator("/keys/{key}")), none.clone()),
        (("POST", operator("/servers")), new),
        (
            ("PATCH", operator("/servers/{server}")),
            json!({ "name": "b" }),
        ),
        (
            ("DELETE", operator("/servers/{server}?backups=delete")),
            none.clone(),
        ),
        (("PUT", operator("/servers/{server}/state")), state.clone()),
        (("POST", operator("/servers/{server}/state")), state),
        (
            ("PUT", operator("/servers/{server}/subusers/{user}")),
            json!({ "permissions": ["backup.read"] }),
        ),
        (
            ("DELETE", operator("/servers/{server}/subusers/{user}")),
            none.clone(),
        ),
        (("POST", operator("/jobs/{job}/cancel")), none),
    ])
}
