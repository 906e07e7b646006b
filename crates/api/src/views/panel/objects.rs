//! What clients of a panel read, field by field. Fields of what a panel knows and Holdfast doesn't are there, since
//! libraries refuse answers without them, and empty: none of them says anything about the server.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// The caller, wrapped as every object is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AccountObject {
    /// Always `user`.
    #[schema(example = "user")]
    pub(crate) object: &'static str,
    pub(crate) attributes: AccountAttributes,
}

/// The user whose key it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AccountAttributes {
    /// Always 0: users have a UUID.
    pub(crate) id: u32,
    pub(crate) uuid: Uuid,
    /// Whether the user administers the service.
    pub(crate) admin: bool,
    /// The address: users have no other name.
    pub(crate) username: String,
    pub(crate) email: String,
    /// Always empty.
    pub(crate) first_name: String,
    /// Always empty.
    pub(crate) last_name: String,
    /// Always `en`.
    pub(crate) language: &'static str,
}

/// A server of the caller's, wrapped as every object is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClientServerObject {
    /// Always `server`.
    #[schema(example = "server")]
    pub(crate) object: &'static str,
    pub(crate) attributes: ClientServerAttributes,
}

/// A server, and what the caller may do with it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OneServer {
    /// Always `server`.
    #[schema(example = "server")]
    pub(crate) object: &'static str,
    pub(crate) attributes: ClientServerAttributes,
    pub(crate) meta: OneServerMeta,
}

/// What the caller may do with a server.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OneServerMeta {
    pub(crate) is_server_owner: bool,
    /// Such as `backup.read`.
    pub(crate) user_permissions: Vec<&'static str>,
}

/// A server as a panel shows it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClientServerAttributes {
    /// Whether it is the caller's own.
    pub(crate) server_owner: bool,
    /// The first eight digits of its UUID.
    pub(crate) identifier: String,
    /// Always 0: servers have a UUID.
    pub(crate) internal_id: u32,
    pub(crate) uuid: Uuid,
    pub(crate) name: String,
    pub(crate) node: String,
    /// Always false.
    pub(crate) is_node_under_maintenance: bool,
    /// Always empty.
    pub(crate) sftp_details: SftpDetails,
    /// Always empty.
    pub(crate) description: String,
    /// Always 0, null and false.
    pub(crate) limits: MachineLimits,
    /// Always empty.
    pub(crate) invocation: String,
    /// Always empty.
    pub(crate) docker_image: String,
    /// Always empty.
    pub(crate) egg_features: Vec<String>,
    pub(crate) feature_limits: FeatureLimits,
    /// Null when it is none of these: `installing`, `suspended`, `restoring_backup`.
    #[schema(example = "installing")]
    pub(crate) status: Option<&'static str>,
    pub(crate) is_suspended: bool,
    pub(crate) is_installing: bool,
    /// Always false.
    pub(crate) is_transferring: bool,
    /// Always empty lists.
    pub(crate) relationships: Relationships,
}

/// Where a panel offers files.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SftpDetails {
    pub(crate) ip: String,
    pub(crate) port: u16,
}

/// What a panel lets a server use of its machine.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct MachineLimits {
    pub(crate) memory: u64,
    pub(crate) swap: u64,
    pub(crate) disk: u64,
    pub(crate) io: u64,
    pub(crate) cpu: u64,
    pub(crate) threads: Option<String>,
    pub(crate) oom_disabled: bool,
}

/// What a server may have.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FeatureLimits {
    /// Always 0.
    pub(crate) databases: u32,
    /// Always 0.
    pub(crate) allocations: u32,
    /// How many backups; 0 means none.
    pub(crate) backups: u32,
}

/// What belongs to a server in a panel.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Relationships {
    pub(crate) allocations: Nothing,
    pub(crate) variables: Nothing,
}

/// An empty list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Nothing {
    /// Always `list`.
    #[schema(example = "list")]
    pub(crate) object: &'static str,
    /// Always empty.
    pub(crate) data: Vec<String>,
}

impl Default for Nothing {
    fn default() -> Self {
        Self {
            object: "list",
            data: Vec::new(),
        }
    }
}
