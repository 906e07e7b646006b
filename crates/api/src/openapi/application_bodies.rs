//! The request bodies of the application API.
#![expect(
    dead_code,
    reason = "only the shapes are used: handlers read bodies field by field"
)]

use utoipa::ToSchema;
use uuid::Uuid;

use super::enums;

/// The body of a request that creates a user.
#[derive(ToSchema)]
pub(crate) struct CreateUserBody {
    #[schema(example = "somebody@example.com")]
    email: String,
    /// Whether the user is an administrator. Default: false.
    admin: Option<bool>,
}

/// The body of a request that changes a user. Absent fields are not changed.
#[derive(ToSchema)]
pub(crate) struct ChangeUserBody {
    #[schema(example = "somebody@example.com")]
    email: Option<String>,
    /// Whether the user is an administrator.
    admin: Option<bool>,
}

/// The body of a request that creates a key.
#[derive(ToSchema)]
pub(crate) struct CreateKeyBody {
    /// UUID or email address of the user of the key.
    user: String,
    /// Default: `client`.
    #[schema(schema_with = enums::key_kind, required = false)]
    kind: Option<String>,
    /// Default: `documented`.
    #[schema(schema_with = enums::profile, required = false)]
    profile: Option<String>,
    #[schema(max_length = 500)]
    description: Option<String>,
    /// Addresses and networks that may use the key. Default: all.
    #[schema(example = json!(["10.0.0.0/8"]))]
    allowed_ips: Option<Vec<String>>,
    /// A time in the future. Default: the key does not expire.
    #[schema(format = DateTime, example = "2040-01-31T12:00:00Z")]
    expires_at: Option<String>,
}

/// The body of a request that registers a server.
#[derive(ToSchema)]
pub(crate) struct CreateServerBody {
    /// The UUID that the panel uses. Default: a new one.
    uuid: Option<Uuid>,
    /// UUID or email address of the owner.
    owner: String,
    #[schema(min_length = 1, max_length = 191)]
    name: String,
    /// An absolute path below one of the allowed roots. The directories of two servers must not
    /// overlap.
    #[schema(example = "/srv/servers/one")]
    dir: String,
    /// Default: the node of this service.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_.-]+$")]
    node: Option<String>,
    /// One of the configured disks. Default: the default disk.
    disk: Option<String>,
    /// 0: no backups.
    #[schema(maximum = 2147483647)]
    backup_limit: Option<u32>,
    #[schema(minimum = 1, maximum = 9223372036854775807_i64)]
    max_backup_bytes: Option<u64>,
    /// 0: no quota.
    #[schema(maximum = 9223372036854775807_i64)]
    quota_bytes: Option<u64>,
    /// 0: no limit.
    #[schema(maximum = 2147483647)]
    retention_days: Option<u32>,
    /// Retention rules instead of those in the settings: any of `within` (days), `last`, `hourly`,
    /// `daily`, `weekly` and `monthly`.
    #[schema(example = "last=3,daily=7,weekly=4")]
    keep: Option<String>,
    /// Whether a new backup at the limit replaces the oldest one that is not locked.
    rotate: Option<bool>,
    /// Whether the server has the default schedule of the settings, if they have one.
    default_schedule: Option<bool>,
    /// Default: `normal`.
    #[schema(schema_with = enums::server_state, required = false)]
    state: Option<String>,
}

/// The body of a request that changes a server. Absent fields are not changed; null resets a field
/// to the value of the settings.
#[derive(ToSchema)]
pub(crate) struct ChangeServerBody {
    /// UUID or email address of the owner.
    owner: Option<String>,
    #[schema(max_length = 191)]
    name: Option<String>,
    /// An absolute path below one of the allowed roots. The directories of two servers must not
    /// overlap.
    #[schema(example = "/srv/servers/one")]
    dir: Option<String>,
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_.-]+$")]
    node: Option<String>,
    /// One of the configured disks.
    disk: Option<String>,
    /// 0: no backups.
    #[schema(maximum = 2147483647)]
    backup_limit: Option<u32>,
    #[schema(minimum = 1, maximum = 9223372036854775807_i64)]
    max_backup_bytes: Option<u64>,
    /// 0: no quota.
    #[schema(maximum = 9223372036854775807_i64)]
    quota_bytes: Option<u64>,
    /// 0: no limit.
    #[schema(maximum = 2147483647)]
    retention_days: Option<u32>,
    /// Retention rules instead of those in the settings: any of `within` (days), `last`, `hourly`,
    /// `daily`, `weekly` and `monthly`.
    #[schema(example = "last=3,daily=7,weekly=4")]
    keep: Option<String>,
    /// Whether a new backup at the limit replaces the oldest one that is not locked.
    rotate: Option<bool>,
    /// Whether the server has the default schedule of the settings, if they have one.
    default_schedule: Option<bool>,
    #[schema(schema_with = enums::server_state, required = false)]
    state: Option<String>,
}

/// The body of a request that sets the state of a server.
#[derive(ToSchema)]
pub(crate) struct StateBody {
    #[schema(schema_with = enums::server_state, required = true)]
    state: String,
}

/// The body of a request that sets the permissions of a subuser.
#[derive(ToSchema)]
pub(crate) struct SubuserBody {
    /// All permissions of the user. An empty list removes the subuser.
    #[schema(schema_with = enums::permissions, required = true)]
    permissions: Vec<String>,
}
