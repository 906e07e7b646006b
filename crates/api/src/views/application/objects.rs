//! The fields of the objects of the application API, for answers and for the OpenAPI document.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::openapi::enums;
use crate::views::objects::{ListMeta, ProgressView};

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ObjectList<T> {
    /// Always `list`.
    #[schema(example = "list")]
    pub(crate) object: &'static str,
    pub(crate) data: Vec<T>,
    pub(crate) meta: ListMeta,
}

/// A user.
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
    /// Whether the user is an administrator.
    pub(crate) admin: bool,
    #[schema(format = DateTime)]
    pub(crate) created_at: String,
}

/// A key.
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
    /// The first sixteen characters of the key, which are not secret.
    #[schema(min_length = 16, max_length = 16)]
    pub(crate) identifier: String,
    /// UUID of the user.
    pub(crate) user: Uuid,
    /// Email address of the user.
    pub(crate) email: String,
    #[schema(schema_with = enums::key_kind)]
    pub(crate) kind: &'static str,
    #[schema(schema_with = enums::profile)]
    pub(crate) profile: &'static str,
    pub(crate) description: String,
    /// Networks that may use the key. An empty list allows all.
    pub(crate) allowed_ips: Vec<String>,
    #[schema(format = DateTime)]
    pub(crate) expires_at: Option<String>,
    #[schema(format = DateTime)]
    pub(crate) created_at: String,
    /// The whole key. Only in the answer to its creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, min_length = 48, max_length = 48)]
    pub(crate) token: Option<String>,
}

/// A server.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ServerObject {
    /// Always `server`.
    #[schema(example = "server")]
    pub(crate) object: &'static str,
    pub(crate) attributes: ServerAttributes,
}

/// A server. A limit that is null has the value of the settings.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ServerAttributes {
    pub(crate) uuid: Uuid,
    /// The eight characters before the first dash of the UUID.
    pub(crate) identifier: String,
    pub(crate) name: String,
    /// UUID of the owner. Null for a server that a panel manages.
    pub(crate) owner: Option<Uuid>,
    /// The absolute path of the server's directory on its node.
    pub(crate) dir: String,
    pub(crate) node: String,
    /// The disk for new backups.
    pub(crate) disk: Option<String>,
    #[schema(schema_with = enums::server_state)]
    pub(crate) state: &'static str,
    /// Maximum number of backups of the server. 0: none.
    pub(crate) backup_limit: Option<u32>,
    /// Maximum size of an archive, in bytes.
    pub(crate) max_backup_bytes: Option<u64>,
    /// Maximum total size of all archives, in bytes. 0: no quota.
    pub(crate) quota_bytes: Option<u64>,
    /// Maximum age of backups, in days. 0: no limit.
    pub(crate) retention_days: Option<u32>,
    /// Retention rules instead of those in the settings, such as `last=3,daily=7`.
    pub(crate) keep: Option<String>,
    /// Whether a new backup at the limit replaces the oldest one that is not locked.
    pub(crate) rotate: bool,
    /// Whether the server has the default schedule of the settings, if they have one.
    pub(crate) default_schedule: bool,
    /// The daemon through which a panel manages the server: `wings`, or null.
    pub(crate) managed_by: Option<&'static str>,
    /// Since when the panel no longer lists the server on its node.
    #[schema(format = DateTime)]
    pub(crate) absent_since: Option<String>,
    #[schema(format = DateTime)]
    pub(crate) created_at: String,
}

/// A subuser.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SubuserObject {
    /// Always `subuser`.
    #[schema(example = "subuser")]
    pub(crate) object: &'static str,
    pub(crate) attributes: SubuserAttributes,
}

/// A user with permissions for a server.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SubuserAttributes {
    pub(crate) uuid: Uuid,
    pub(crate) email: String,
    #[schema(schema_with = enums::permissions)]
    pub(crate) permissions: Vec<&'static str>,
}

/// A node.
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
    /// The number of servers on the node.
    pub(crate) servers: u64,
    /// Workers with a heartbeat in the last hour.
    pub(crate) workers: Vec<WorkerView>,
}

/// A worker.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkerView {
    pub(crate) name: String,
    pub(crate) version: String,
    /// The name of the worker's host.
    pub(crate) host: String,
    pub(crate) pid: u32,
    /// Maximum number of concurrent jobs.
    pub(crate) concurrency: u32,
    /// Free bytes by disk, where they are known.
    pub(crate) disk_free_bytes: BTreeMap<String, u64>,
    pub(crate) staging_free_bytes: Option<u64>,
    #[schema(format = DateTime)]
    pub(crate) started_at: String,
    #[schema(format = DateTime)]
    pub(crate) last_heartbeat_at: String,
}

/// An entry of the operator log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OperationObject {
    /// Always `operation`.
    #[schema(example = "operation")]
    pub(crate) object: &'static str,
    pub(crate) attributes: OperationAttributes,
}

/// A request for a change, accepted or refused, or a command that made a change. In a request, the
/// fields of a command are null, and the other way round.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OperationAttributes {
    pub(crate) id: i64,
    #[schema(example = "PUT")]
    pub(crate) method: Option<String>,
    pub(crate) path: Option<String>,
    /// The HTTP status of the answer. From 400 on, nothing was changed.
    pub(crate) status: Option<i32>,
    #[schema(example = "admin server set")]
    pub(crate) command: Option<String>,
    /// The account and the host that ran the command.
    #[schema(example = "root@games-1")]
    pub(crate) typed_by: Option<String>,
    /// UUID or identifier of the changed object, if the path does not contain it.
    pub(crate) subject: Option<String>,
    /// UUID of the administrator.
    pub(crate) user: Option<Uuid>,
    /// Email address of the administrator at that time.
    pub(crate) email: Option<String>,
    /// The identifier of the key.
    pub(crate) key: Option<String>,
    /// The IP address of the client.
    pub(crate) ip: Option<String>,
    /// The ID of the request, as in the service's log.
    pub(crate) request_id: Option<String>,
    #[schema(format = DateTime)]
    pub(crate) timestamp: String,
}

/// A job.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobObject {
    /// Always `job`.
    #[schema(example = "job")]
    pub(crate) object: &'static str,
    pub(crate) attributes: JobAttributes,
}

/// A job. Its errors contain the details that operators need.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobAttributes {
    pub(crate) id: i64,
    #[schema(schema_with = enums::job_kind)]
    pub(crate) kind: &'static str,
    #[schema(schema_with = enums::job_state)]
    pub(crate) state: &'static str,
    pub(crate) server: Uuid,
    /// Null if the job is not about a single backup.
    pub(crate) backup: Option<Uuid>,
    pub(crate) node: String,
    /// The arguments; their fields depend on the kind.
    pub(crate) args: Value,
    /// The number of attempts so far.
    pub(crate) attempt: u32,
    pub(crate) max_attempts: u32,
    /// The worker that runs the job.
    pub(crate) claimed_by: Option<String>,
    pub(crate) progress: Option<ProgressView>,
    /// The error of each failed attempt.
    pub(crate) errors: Value,
    /// The `X-Request-Id` of the request that created the job.
    pub(crate) request_id: Option<String>,
    #[schema(format = DateTime)]
    pub(crate) created_at: String,
    #[schema(format = DateTime)]
    pub(crate) started_at: Option<String>,
    #[schema(format = DateTime)]
    pub(crate) finalized_at: Option<String>,
}

/// A disk.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DiskObject {
    /// Always `disk`.
    #[schema(example = "disk")]
    pub(crate) object: &'static str,
    pub(crate) attributes: DiskAttributes,
}

/// A disk, with the totals of its completed backups.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DiskAttributes {
    pub(crate) name: String,
    pub(crate) is_default: bool,
    pub(crate) backups: u64,
    pub(crate) bytes: u64,
    /// Null if it is not known.
    pub(crate) free_bytes: Option<u64>,
}

/// The storage that a server uses.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ServerUseObject {
    /// Always `server_storage`.
    #[schema(example = "server_storage")]
    pub(crate) object: &'static str,
    pub(crate) attributes: ServerUseAttributes,
}

/// The totals of a server's completed backups, overall and by disk.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ServerUseAttributes {
    /// UUID of the server.
    pub(crate) server: Uuid,
    pub(crate) name: String,
    pub(crate) backups: u64,
    pub(crate) bytes: u64,
    pub(crate) disks: BTreeMap<String, StoredView>,
}

/// Totals of completed backups.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StoredView {
    /// The number of completed backups.
    pub(crate) backups: u64,
    /// The total size of their archives, in bytes.
    pub(crate) bytes: u64,
}
