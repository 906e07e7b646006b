//! What requests to the application API say. Only the shapes are used: bodies and queries are read
//! field by field, generously.
#![expect(
    dead_code,
    reason = "only the shapes are used: bodies and queries are read field by field, generously"
)]

use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::words;

/// Which page of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// From 1; anything else than digits means 1.
    page: Option<String>,
    /// 1 to 100; 25 when it is anything else than digits.
    per_page: Option<String>,
}

/// Which jobs.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobQuery {
    /// UUID of a server, or the eight characters before its first dash: only its jobs.
    server: Option<String>,
    /// Only jobs of this kind.
    #[param(schema_with = words::job_kind, required = false)]
    kind: Option<String>,
    /// Only jobs in this state.
    #[param(schema_with = words::job_state, required = false)]
    state: Option<String>,
}

/// What becomes of the archives.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteServerQuery {
    /// Whether the archives are removed, or stay on their disks and are forgotten.
    #[param(schema_with = words::backups_fate, required = true)]
    backups: String,
}

/// The body of a request for a user.
#[derive(ToSchema)]
pub(crate) struct CreateUserBody {
    #[schema(example = "somebody@example.com")]
    email: String,
    /// Whether the user administers the service; false when nothing is said.
    admin: Option<bool>,
}

/// The body of a request to change a user. What is left out stays.
#[derive(ToSchema)]
pub(crate) struct ChangeUserBody {
    #[schema(example = "somebody@example.com")]
    email: Option<String>,
    /// Whether the user administers the service.
    admin: Option<bool>,
}

/// The body of a request for a key.
#[derive(ToSchema)]
pub(crate) struct CreateKeyBody {
    /// UUID or email address of the user who gets it.
    user: String,
    /// `client` when nothing is said.
    #[schema(schema_with = words::key_kind, required = false)]
    kind: Option<String>,
    /// `documented` when nothing is said.
    #[schema(schema_with = words::profile, required = false)]
    profile: Option<String>,
    #[schema(max_length = 500)]
    description: Option<String>,
    /// Addresses and networks that may use it; every one when there are none.
    #[schema(example = json!(["10.0.0.0/8"]))]
    allowed_ips: Option<Vec<String>>,
    /// In the future; never when nothing is said.
    #[schema(format = DateTime, example = "2040-01-31T12:00:00Z")]
    expires_at: Option<String>,
}

/// The body of a request for a server.
#[derive(ToSchema)]
pub(crate) struct CreateServerBody {
    /// The panel's UUID of it; made when there is none.
    uuid: Option<Uuid>,
    /// UUID or email address of its owner.
    owner: String,
    #[schema(min_length = 1, max_length = 191)]
    name: String,
    /// An absolute path under one of the node's roots, of no other server's directory.
    #[schema(example = "/srv/servers/one")]
    dir: String,
    /// This service's own when nothing is said.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_.-]+$")]
    node: Option<String>,
    /// One of the configured disks; the default one when nothing is said.
    disk: Option<String>,
    /// 0 means no backups at all.
    #[schema(maximum = 2147483647)]
    backup_limit: Option<u32>,
    #[schema(minimum = 1, maximum = 9223372036854775807_i64)]
    max_backup_bytes: Option<u64>,
    /// 0 means no quota.
    #[schema(maximum = 9223372036854775807_i64)]
    quota_bytes: Option<u64>,
    /// 0 means for ever.
    #[schema(maximum = 2147483647)]
    retention_days: Option<u32>,
    /// Which backups are kept, in place of what the settings say: some of `within` (days), `last`, `hourly`, `daily`,
    /// `weekly` and `monthly`.
    #[schema(example = "last=3,daily=7,weekly=4")]
    keep: Option<String>,
    /// Whether at its limit it may have one more backup, for which the oldest unlocked one goes afterwards.
    rotate: Option<bool>,
    /// `normal` when nothing is said.
    #[schema(schema_with = words::server_state, required = false)]
    state: Option<String>,
}

/// The body of a request to change a server. What is left out stays; null takes the setting again.
#[derive(ToSchema)]
pub(crate) struct ChangeServerBody {
    /// UUID or email address of its owner.
    owner: Option<String>,
    #[schema(max_length = 191)]
    name: Option<String>,
    /// An absolute path under one of the node's roots, of no other server's directory.
    #[schema(example = "/srv/servers/one")]
    dir: Option<String>,
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_.-]+$")]
    node: Option<String>,
    /// One of the configured disks.
    disk: Option<String>,
    /// 0 means no backups at all.
    #[schema(maximum = 2147483647)]
    backup_limit: Option<u32>,
    #[schema(minimum = 1, maximum = 9223372036854775807_i64)]
    max_backup_bytes: Option<u64>,
    /// 0 means no quota.
    #[schema(maximum = 9223372036854775807_i64)]
    quota_bytes: Option<u64>,
    /// 0 means for ever.
    #[schema(maximum = 2147483647)]
    retention_days: Option<u32>,
    /// Which backups are kept, in place of what the settings say: some of `within` (days), `last`, `hourly`, `daily`,
    /// `weekly` and `monthly`.
    #[schema(example = "last=3,daily=7,weekly=4")]
    keep: Option<String>,
    /// Whether at its limit it may have one more backup, for which the oldest unlocked one goes afterwards.
    rotate: Option<bool>,
    #[schema(schema_with = words::server_state, required = false)]
    state: Option<String>,
}

/// The body of a request to set a server's state.
#[derive(ToSchema)]
pub(crate) struct StateBody {
    #[schema(schema_with = words::server_state, required = true)]
    state: String,
}

/// The body of a request to say what a subuser may do.
#[derive(ToSchema)]
pub(crate) struct SubuserBody {
    /// All that the user may do; nothing at all when it is empty.
    #[schema(schema_with = words::permissions, required = true)]
    permissions: Vec<String>,
}
