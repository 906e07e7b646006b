//! The objects of the application API, field by field: what is sent, and what the OpenAPI document says.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::openapi::words;
use crate::views::objects::{ListMeta, ProgressView};

/// A page of objects.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ObjectList<T> {
    /// Always `list`.
    #[schema(example = "list")]
    pub(crate) object: &'static str,
    pub(crate) data: Vec<T>,
    pub(crate) meta: ListMeta,
}

/// A user, wrapped as every object is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserObject {
    /// Always `user`.
    #[schema(example = "user")]
    pub(crate) object: &'static str,
    pub(crate) attributes: UserAttributes,
}

/// A user.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserAttributes {
    pub(crate) uuid: Uuid,
    pub(crate) email: String,
    /// Whether the user administers the service.
    pub(crate) admin: bool,
    #[schema(format = DateTime)]
    pub(crate) created_at: String,
}

/// A key, wrapped.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyObject {
    /// Always `api_key`.
    #[schema(example = "api_key")]
    pub(crate) object: &'static str,
    pub(crate) attributes: KeyAttributes,
}

/// A key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyAttributes {
    /// Its first sixteen characters, which are no secret.
    #[schema(min_length = 16, max_length = 16)]
    pub(crate) identifier: String,
    /// Whose it is.
    pub(crate) user: Uuid,
    /// That user's address.
    pub(crate) email: String,
    #[schema(schema_with = words::key_kind)]
    pub(crate) kind: &'static str,
    #[schema(schema_with = words::profile)]
    pub(crate) profile: &'static str,
    pub(crate) description: String,
    /// Networks that may use it; every one when there are none.
    pub(crate) allowed_ips: Vec<String>,
    #[schema(format = DateTime)]
    pub(crate) expires_at: Option<String>,
    #[schema(format = DateTime)]
    pub(crate) created_at: String,
    /// The whole key. Only the answer to its creation has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, min_length = 48, max_length = 48)]
    pub(crate) token: Option<String>,
}

/// A server, wrapped.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ServerObject {
    /// Always `server`.
    #[schema(example = "server")]
    pub(crate) object: &'static str,
    pub(crate) attributes: ServerAttributes,
}

/// A server. A null takes the setting.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ServerAttributes {
    pub(crate) uuid: Uuid,
    /// The eight characters before the UUID's first dash.
    pub(crate) identifier: String,
    pub(crate) name: String,
    /// The owner's UUID.
    pub(crate) owner: Uuid,
    /// The absolute path of its directory on its node.
    pub(crate) dir: String,
    pub(crate) node: String,
    /// The disk for its new backups.
    pub(crate) disk: Option<String>,
    #[schema(schema_with = words::server_state)]
    pub(crate) state: &'static str,
    /// How many backups it may have; 0 means none at all.
    pub(crate) backup_limit: Option<u32>,
    /// The greatest archive.
    pub(crate) max_backup_bytes: Option<u64>,
    /// All archives together; 0 means no quota.
    pub(crate) quota_bytes: Option<u64>,
    /// How long backups are kept; 0 means for ever.
    pub(crate) retention_days: Option<u32>,
    /// Which backups are kept, in place of what the settings say, such as `last=3,daily=7`.
    pub(crate) keep: Option<String>,
    /// Whether at its limit it may have one more, for which the oldest unlocked one goes afterwards.
    pub(crate) rotate: bool,
    #[schema(format = DateTime)]
    pub(crate) created_at: String,
}

/// A subuser, wrapped.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SubuserObject {
    /// Always `subuser`.
    #[schema(example = "subuser")]
    pub(crate) object: &'static str,
    pub(crate) attributes: SubuserAttributes,
}

/// A user who may do something with a server.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SubuserAttributes {
    pub(crate) uuid: Uuid,
    pub(crate) email: String,
    #[schema(schema_with = words::permissions)]
    pub(crate) permissions: Vec<&'static str>,
}

/// A node, wrapped.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NodeObject {
    /// Always `node`.
    #[schema(example = "node")]
    pub(crate) object: &'static str,
    pub(crate) attributes: NodeAttributes,
}

/// A node.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NodeAttributes {
    pub(crate) name: String,
    /// How many servers are there.
    pub(crate) servers: u64,
    /// Those that were seen within the last hour.
    pub(crate) workers: Vec<WorkerView>,
}

/// A worker.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkerView {
    pub(crate) name: String,
    pub(crate) version: String,
    /// The name of the machine it runs on.
    pub(crate) host: String,
    pub(crate) pid: u32,
    /// How many jobs it runs at once.
    pub(crate) concurrency: u32,
    /// By disk, where it is known.
    pub(crate) disk_free_bytes: BTreeMap<String, u64>,
    pub(crate) staging_free_bytes: Option<u64>,
    #[schema(format = DateTime)]
    pub(crate) started_at: String,
    #[schema(format = DateTime)]
    pub(crate) last_heartbeat_at: String,
}

/// A line of the log of operations, wrapped.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OperationObject {
    /// Always `operation`.
    #[schema(example = "operation")]
    pub(crate) object: &'static str,
    pub(crate) attributes: OperationAttributes,
}

/// A request to this API that was to change something, or a command that did; what the other one says of itself is null.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OperationAttributes {
    pub(crate) id: i64,
    #[schema(example = "PUT")]
    pub(crate) method: Option<String>,
    pub(crate) path: Option<String>,
    /// What was answered: from 400 on, nothing was changed.
    pub(crate) status: Option<i32>,
    #[schema(example = "admin server set")]
    pub(crate) command: Option<String>,
    /// Who typed the command, on which machine.
    #[schema(example = "root@games-1")]
    pub(crate) typed_by: Option<String>,
    /// UUID or identifier of what was made or changed, where no path names it.
    pub(crate) subject: Option<String>,
    /// UUID of the administrator.
    pub(crate) user: Option<Uuid>,
    /// That user's address at the time.
    pub(crate) email: Option<String>,
    /// The first sixteen characters of the key.
    pub(crate) key: Option<String>,
    /// The caller's network address.
    pub(crate) ip: Option<String>,
    /// By which the request is found in the service's log.
    pub(crate) request_id: Option<String>,
    #[schema(format = DateTime)]
    pub(crate) timestamp: String,
}

/// A job, wrapped.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobObject {
    /// Always `job`.
    #[schema(example = "job")]
    pub(crate) object: &'static str,
    pub(crate) attributes: JobAttributes,
}

/// A job. Its errors are told as operators need them, with details.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobAttributes {
    pub(crate) id: i64,
    #[schema(schema_with = words::job_kind)]
    pub(crate) kind: &'static str,
    #[schema(schema_with = words::job_state)]
    pub(crate) state: &'static str,
    pub(crate) server: Uuid,
    /// Null where it is about no backup alone.
    pub(crate) backup: Option<Uuid>,
    pub(crate) node: String,
    /// As the kind defines them.
    pub(crate) args: Value,
    /// How often it was tried.
    pub(crate) attempt: u32,
    pub(crate) max_attempts: u32,
    /// The worker that holds it.
    pub(crate) claimed_by: Option<String>,
    pub(crate) progress: Option<ProgressView>,
    /// What went wrong with each attempt that failed.
    pub(crate) errors: Value,
    /// The `X-Request-Id` of the request that asked for it.
    pub(crate) request_id: Option<String>,
    #[schema(format = DateTime)]
    pub(crate) created_at: String,
    #[schema(format = DateTime)]
    pub(crate) started_at: Option<String>,
    #[schema(format = DateTime)]
    pub(crate) finalized_at: Option<String>,
}

/// A disk, wrapped.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DiskObject {
    /// Always `disk`.
    #[schema(example = "disk")]
    pub(crate) object: &'static str,
    pub(crate) attributes: DiskAttributes,
}

/// A disk, with what completed backups take there.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DiskAttributes {
    pub(crate) name: String,
    pub(crate) is_default: bool,
    pub(crate) backups: u64,
    pub(crate) bytes: u64,
    /// Null where nobody knows.
    pub(crate) free_bytes: Option<u64>,
}

/// What a server takes, wrapped.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ServerUseObject {
    /// Always `server_storage`.
    #[schema(example = "server_storage")]
    pub(crate) object: &'static str,
    pub(crate) attributes: ServerUseAttributes,
}

/// What a server's completed backups take, in all and by disk.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ServerUseAttributes {
    /// The server's UUID.
    pub(crate) server: Uuid,
    pub(crate) name: String,
    pub(crate) backups: u64,
    pub(crate) bytes: u64,
    pub(crate) disks: BTreeMap<String, StoredView>,
}

/// How much something holds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StoredView {
    /// How many completed backups.
    pub(crate) backups: u64,
    /// Their archives together.
    pub(crate) bytes: u64,
}
