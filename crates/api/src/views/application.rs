//! The shapes of the application API. They are the same in both profiles.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use holdfast_db::jobs::Job;
use holdfast_db::keys::KeyOfUser;
use holdfast_db::subusers::Subuser;
use holdfast_db::usage::{ServerUse, Stored};
use holdfast_db::users::User;
use holdfast_db::workers::Worker;
use holdfast_domain::{Progress, Server};

use super::date;
use super::objects::Pagination;

/// A page of objects.
pub(crate) fn list(objects: &[Value], pagination: &Pagination) -> Value {
    json!({ "object": "list", "data": objects, "meta": { "pagination": pagination } })
}

/// A user.
pub(crate) fn user(user: &User) -> Value {
    json!({
        "object": "user",
        "attributes": {
            "uuid": user.id,
            "email": user.email,
            "admin": user.is_admin,
            "created_at": date(user.created_at),
        }
    })
}

/// A key, without its secret; `token` is the whole of it, which only its creation shows.
pub(crate) fn key(found: &KeyOfUser, token: Option<&str>) -> Value {
    let key = &found.key;
    let mut object = json!({
        "object": "api_key",
        "attributes": {
            "identifier": key.identifier.as_str(),
            "user": key.user,
            "email": found.email,
            "kind": key.kind.as_str(),
            "profile": key.profile.as_str(),
            "description": key.description,
            "allowed_ips": key.allowed_ips,
            "expires_at": key.expires_at.map(date),
            "created_at": date(key.created_at),
        }
    });
    if let Some(token) = token {
        object["attributes"]["token"] = json!(token);
    }
    object
}

/// A server. A null takes the setting.
pub(crate) fn server(server: &Server) -> Value {
    json!({
        "object": "server",
        "attributes": {
            "uuid": server.id,
            "identifier": server.id.short(),
            "name": server.name,
            "owner": server.owner,
            "dir": server.directory.to_string_lossy(),
            "node": server.node,
            "disk": server.disk,
            "state": server.state.as_str(),
            "backup_limit": server.limits.backups,
            "max_backup_bytes": server.limits.max_backup_bytes,
            "quota_bytes": server.limits.quota_bytes,
            "retention_days": server.limits.retention_days,
            "created_at": date(server.created_at),
        }
    })
}

/// A subuser of a server.
pub(crate) fn subuser(subuser: &Subuser) -> Value {
    let permissions: Vec<&str> = subuser.permissions.iter().map(|p| p.as_str()).collect();
    json!({
        "object": "subuser",
        "attributes": { "uuid": subuser.user, "email": subuser.email, "permissions": permissions }
    })
}

/// A node, with the workers that were seen there and the number of its servers.
pub(crate) fn node(name: &str, workers: &[Worker], servers: u64) -> Value {
    let workers: Vec<Value> = workers.iter().map(worker).collect();
    json!({
        "object": "node",
        "attributes": { "name": name, "servers": servers, "workers": workers }
    })
}

fn worker(worker: &Worker) -> Value {
    json!({
        "name": worker.name,
        "version": worker.version,
        "host": worker.host,
        "pid": worker.pid,
        "concurrency": worker.concurrency,
        "disk_free_bytes": worker.disk_free_bytes,
        "staging_free_bytes": worker.staging_free_bytes,
        "started_at": date(worker.started_at),
        "last_heartbeat_at": date(worker.last_heartbeat_at),
    })
}

/// A job. Its errors are told as operators need them, with details.
pub(crate) fn job(job: &Job) -> Value {
    let progress: Option<Progress> = job
        .progress
        .clone()
        .and_then(|progress| serde_json::from_value(progress).ok());
    json!({
        "object": "job",
        "attributes": {
            "id": job.id,
            "kind": job.kind.as_str(),
            "state": job.state.as_str(),
            "server": job.server,
            "backup": job.backup.some(),
            "node": job.node,
            "args": job.args,
            "attempt": job.attempt,
            "max_attempts": job.max_attempts,
            "claimed_by": job.claimed_by,
            "progress": progress.as_ref().map(super::progress),
            "errors": job.errors,
            "created_at": date(job.created_at),
            "started_at": job.started_at.map(date),
            "finalized_at": job.finalized_at.map(date),
        }
    })
}

/// A disk, with what completed backups take there. `free_bytes` is null where nobody knows.
pub(crate) fn disk(name: &str, stored: Stored, free_bytes: Option<u64>, is_default: bool) -> Value {
    json!({
        "object": "disk",
        "attributes": {
            "name": name,
            "is_default": is_default,
            "backups": stored.backups,
            "bytes": stored.bytes,
            "free_bytes": free_bytes,
        }
    })
}

/// What a server's completed backups take, in all and by disk.
pub(crate) fn server_use(found: &ServerUse) -> Value {
    let total = |of: fn(&Stored) -> u64| found.disks.iter().map(|(_, stored)| of(stored)).sum();
    let (backups, bytes): (u64, u64) = (total(|s| s.backups), total(|s| s.bytes));
    let disks: BTreeMap<&str, Value> = found
        .disks
        .iter()
        .map(|(name, stored)| {
            let stored = json!({ "backups": stored.backups, "bytes": stored.bytes });
            (name.as_str(), stored)
        })
        .collect();
    json!({
        "object": "server_storage",
        "attributes": {
            "server": found.server,
            "name": found.name,
            "backups": backups,
            "bytes": bytes,
            "disks": disks,
        }
    })
}
