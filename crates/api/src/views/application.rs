//! The objects of the application API. They are the same in both profiles.

pub(crate) mod objects;

use holdfast_db::jobs::Job;
use holdfast_db::keys::KeyOfUser;
use holdfast_db::operator_log::OperatorLogEntry;
use holdfast_db::subusers::Subuser;
use holdfast_db::usage::{ServerUsage, StoredTotals};
use holdfast_db::users::User;
use holdfast_db::workers::Worker;
use holdfast_domain::limit::ServerLoad;
use holdfast_domain::server::ServerManager;
use holdfast_domain::{JobKind, JobProgress, Server, ServerState};

use self::objects::{
    DiskAttributes, DiskObject, JobAttributes, JobObject, KeyAttributes, KeyObject, NodeAttributes,
    NodeObject, OperationAttributes, OperationObject, ServerAttributes, ServerObject,
    ServerUseAttributes, ServerUseObject, StoredView, SubuserAttributes, SubuserObject,
    UserAttributes, UserObject, WorkerView,
};
use super::date;

/// Returns the object of an entry of the operator log.
pub(crate) fn operation(entry: &OperatorLogEntry) -> OperationObject {
    OperationObject {
        object: "operation",
        attributes: OperationAttributes {
            id: entry.id,
            method: entry.method.clone(),
            path: entry.path.clone(),
            status: entry.status,
            command: entry.command.clone(),
            typed_by: entry.typed_by.clone(),
            subject: entry.subject.clone(),
            user: entry.actor,
            email: entry.actor_email.clone(),
            key: entry.key.clone(),
            ip: entry.address.clone(),
            request_id: entry.request_id.clone(),
            timestamp: date(entry.at),
        },
    }
}

/// Returns the object of a user.
pub(crate) fn user(user: &User) -> UserObject {
    UserObject {
        object: "user",
        attributes: UserAttributes {
            uuid: user.id.0,
            email: user.email.clone(),
            admin: user.is_admin,
            created_at: date(user.created_at),
        },
    }
}

/// Returns the object of a key. `token` is the whole key; only the answer to its creation has it.
pub(crate) fn key(key_of_user: &KeyOfUser, token: Option<String>) -> KeyObject {
    let key = &key_of_user.api_key;
    KeyObject {
        object: "api_key",
        attributes: KeyAttributes {
            identifier: key.identifier.to_string(),
            user: key.user.0,
            email: key_of_user.email.clone(),
            kind: key.kind.as_str(),
            profile: key.profile.as_str(),
            description: key.description.clone(),
            allowed_ips: key.allowed_ips.iter().map(ToString::to_string).collect(),
            expires_at: key.expires_at.map(date),
            created_at: date(key.created_at),
            token,
        },
    }
}

/// Returns the object of a server that was just changed, with its `load` from the same transaction.
pub(crate) fn changed_server(server: &Server, load: &ServerLoad) -> ServerObject {
    self::server(server, load.unfinished == Some(JobKind::RestoreBackup))
}

/// Returns the object of a server. During a restore its state is `restoring`, even if the panel set
/// another state.
pub(crate) fn server(server: &Server, is_restoring: bool) -> ServerObject {
    let state = match is_restoring {
        true => ServerState::Restoring,
        false => server.state,
    };
    ServerObject {
        object: "server",
        attributes: ServerAttributes {
            uuid: server.id.0,
            identifier: server.id.short(),
            name: server.name.clone(),
            owner: server.owner.map(|owner| owner.0),
            dir: server.directory.to_string_lossy().into_owned(),
            node: server.node.to_string(),
            disk: server.disk.as_ref().map(ToString::to_string),
            state: state.as_str(),
            backup_limit: server.limits.backups,
            max_backup_bytes: server.limits.max_backup_bytes,
            quota_bytes: server.limits.quota_bytes,
            retention_days: server.limits.retention_days,
            keep: server.limits.keep.map(|rules| rules.to_string()),
            rotate: server.limits.rotate,
            default_schedule: !server.limits.no_default_schedule,
            managed_by: server.managed_by.map(ServerManager::as_str),
            absent_since: server.absent_since.map(date),
            created_at: date(server.created_at),
        },
    }
}

/// Returns the object of a subuser.
pub(crate) fn subuser(subuser: &Subuser) -> SubuserObject {
    SubuserObject {
        object: "subuser",
        attributes: SubuserAttributes {
            uuid: subuser.user.0,
            email: subuser.email.clone(),
            permissions: subuser.permissions.iter().map(|p| p.as_str()).collect(),
        },
    }
}

/// Returns the object of a node with its workers and the number of its servers.
pub(crate) fn node(name: &str, workers: &[Worker], servers: u64) -> NodeObject {
    NodeObject {
        object: "node",
        attributes: NodeAttributes {
            name: name.to_owned(),
            servers,
            workers: workers.iter().map(worker).collect(),
        },
    }
}

fn worker(worker: &Worker) -> WorkerView {
    WorkerView {
        name: worker.name.clone(),
        version: worker.version.clone(),
        host: worker.host.clone(),
        pid: worker.pid,
        concurrency: worker.concurrency,
        disk_free_bytes: worker.disk_free_bytes.clone(),
        staging_free_bytes: worker.staging_free_bytes,
        started_at: date(worker.started_at),
        last_heartbeat_at: date(worker.last_heartbeat_at),
    }
}

/// Returns the object of a job. Its errors contain the details that operators need.
pub(crate) fn job(job: &Job) -> JobObject {
    let progress: Option<JobProgress> = job
        .progress
        .clone()
        .and_then(|progress| serde_json::from_value(progress).ok());
    JobObject {
        object: "job",
        attributes: JobAttributes {
            id: job.id.0,
            kind: job.kind.as_str(),
            state: job.state.as_str(),
            server: job.server.0,
            backup: job.backup.some().map(|backup| backup.0),
            node: job.node.clone(),
            args: job.args.clone(),
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            claimed_by: job.claimed_by.clone(),
            progress: progress.as_ref().map(super::progress),
            errors: job.errors.clone(),
            request_id: job.request_id.clone(),
            created_at: date(job.created_at),
            started_at: job.started_at.map(date),
            finalized_at: job.finalized_at.map(date),
        },
    }
}

/// Returns the object of a disk with the totals of its completed backups.
///
/// `free_bytes` is `None` if it is not known.
pub(crate) fn disk(
    name: &str,
    stored: StoredTotals,
    free_bytes: Option<u64>,
    is_default: bool,
) -> DiskObject {
    DiskObject {
        object: "disk",
        attributes: DiskAttributes {
            name: name.to_owned(),
            is_default,
            backups: stored.backups,
            bytes: stored.bytes,
            free_bytes,
        },
    }
}

/// Returns the totals of a server's completed backups, overall and by disk.
pub(crate) fn server_usage(usage: &ServerUsage) -> ServerUseObject {
    let total =
        |of: fn(&StoredTotals) -> u64| usage.disks.iter().map(|(_, stored)| of(stored)).sum();
    let stored = |stored: &StoredTotals| StoredView {
        backups: stored.backups,
        bytes: stored.bytes,
    };
    let disks = usage.disks.iter();
    ServerUseObject {
        object: "server_storage",
        attributes: ServerUseAttributes {
            server: usage.server.0,
            name: usage.name.clone(),
            backups: total(|s| s.backups),
            bytes: total(|s| s.bytes),
            disks: disks
                .map(|(name, totals)| (name.clone(), stored(totals)))
                .collect(),
        },
    }
}
