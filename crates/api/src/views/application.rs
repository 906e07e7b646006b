//! The shapes of the application API. They are the same in both profiles.

pub(crate) mod objects;

use holdfast_db::jobs::Job;
use holdfast_db::keys::KeyOfUser;
use holdfast_db::operator_log::OperatorLogEntry;
use holdfast_db::subusers::Subuser;
use holdfast_db::usage::{ServerUsage, StoredTotals};
use holdfast_db::users::User;
use holdfast_db::workers::Worker;
use holdfast_domain::{JobProgress, Server, ServerState};

use self::objects::{
    DiskAttributes, DiskObject, JobAttributes, JobObject, KeyAttributes, KeyObject, NodeAttributes,
    NodeObject, ObjectList, OperationAttributes, OperationObject, ServerAttributes, ServerObject,
    ServerUseAttributes, ServerUseObject, StoredView, SubuserAttributes, SubuserObject,
    UserAttributes, UserObject, WorkerView,
};
use super::date;
use super::objects::{ListMeta, Pagination};

/// A page of objects.
pub(crate) fn list<T>(data: Vec<T>, pagination: Pagination) -> ObjectList<T> {
    ObjectList {
        object: "list",
        data,
        meta: ListMeta { pagination },
    }
}

/// A line of the log of operations.
pub(crate) fn operation(line: &OperatorLogEntry) -> OperationObject {
    OperationObject {
        object: "operation",
        attributes: OperationAttributes {
            id: line.id,
            method: line.method.clone(),
            path: line.path.clone(),
            status: line.status,
            command: line.command.clone(),
            typed_by: line.typed_by.clone(),
            subject: line.subject.clone(),
            user: line.actor,
            email: line.actor_email.clone(),
            key: line.key.clone(),
            ip: line.address.clone(),
            request_id: line.request_id.clone(),
            timestamp: date(line.at),
        },
    }
}

/// A user.
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

/// A key, without its secret; `token` is the whole of it, which only its creation shows.
pub(crate) fn key(found: &KeyOfUser, token: Option<String>) -> KeyObject {
    let key = &found.key;
    KeyObject {
        object: "api_key",
        attributes: KeyAttributes {
            identifier: key.identifier.to_string(),
            user: key.user.0,
            email: found.email.clone(),
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

/// A server. A null takes the setting; one that is being restored says so, whatever its panel said before.
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
            owner: server.owner.0,
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
            created_at: date(server.created_at),
        },
    }
}

/// A subuser of a server.
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

/// A node, with the workers that were seen there and the number of its servers.
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

/// A job. Its errors are told as operators need them, with details.
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

/// A disk, with what completed backups take there. `free_bytes` is null where nobody knows.
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

/// What a server's completed backups take, in all and by disk.
pub(crate) fn server_use(found: &ServerUsage) -> ServerUseObject {
    let total =
        |of: fn(&StoredTotals) -> u64| found.disks.iter().map(|(_, stored)| of(stored)).sum();
    let stored = |stored: &StoredTotals| StoredView {
        backups: stored.backups,
        bytes: stored.bytes,
    };
    let disks = found.disks.iter();
    ServerUseObject {
        object: "server_storage",
        attributes: ServerUseAttributes {
            server: found.server.0,
            name: found.name.clone(),
            backups: total(|s| s.backups),
            bytes: total(|s| s.bytes),
            disks: disks
                .map(|(name, held)| (name.clone(), stored(held)))
                .collect(),
        },
    }
}
