//! The fields of the objects that clients of a panel expect.
//!
//! Fields for which Holdfast has no value are present, since libraries refuse answers without them.
//! They are empty or 0, and say nothing about the server.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// The account of the caller.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AccountObject {
    /// Always `user`.
    #[schema(example = "user")]
    pub(crate) object: &'static str,
    pub(crate) attributes: AccountAttributes,
}

/// The user of the key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AccountAttributes {
    /// Always 0. Users have a UUID.
    pub(crate) id: u32,
    pub(crate) uuid: Uuid,
    /// Whether the user is an administrator.
    pub(crate) admin: bool,
    /// The email address, since users have no other name.
    pub(crate) username: String,
    pub(crate) email: String,
    /// Always empty.
    pub(crate) first_name: String,
    /// Always empty.
    pub(crate) last_name: String,
    /// Always `en`.
    pub(crate) language: &'static str,
}

/// A server in the list of the caller.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClientServerObject {
    /// Always `server`.
    #[schema(example = "server")]
    pub(crate) object: &'static str,
    pub(crate) attributes: ClientServerAttributes,
}

/// A server, with the caller's permissions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OneServer {
    /// Always `server`.
    #[schema(example = "server")]
    pub(crate) object: &'static str,
    pub(crate) attributes: ClientServerAttributes,
    pub(crate) meta: OneServerMeta,
}

/// The caller's permissions for a server.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OneServerMeta {
    pub(crate) is_server_owner: bool,
    /// Such as `backup.read`.
    pub(crate) user_permissions: Vec<&'static str>,
}

/// A server as a panel shows it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClientServerAttributes {
    /// Whether the caller owns the server.
    pub(crate) server_owner: bool,
    /// The eight characters before the first dash of the UUID.
    pub(crate) identifier: String,
    /// Always 0. Servers have a UUID.
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
    /// `installing`, `suspended` or `restoring_backup`; otherwise null.
    #[schema(example = "installing")]
    pub(crate) status: Option<&'static str>,
    pub(crate) is_suspended: bool,
    pub(crate) is_installing: bool,
    /// Always false.
    pub(crate) is_transferring: bool,
    /// Always empty lists.
    pub(crate) relationships: Relationships,
}

/// The SFTP address of a panel.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SftpDetails {
    pub(crate) ip: String,
    pub(crate) port: u16,
}

/// The resource limits of a panel.
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

/// The limits of features.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FeatureLimits {
    /// Always 0.
    pub(crate) databases: u32,
    /// Always 0.
    pub(crate) allocations: u32,
    /// Maximum number of backups of the server. 0: none.
    pub(crate) backups: u32,
}

/// The objects that belong to a server in a panel.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Relationships {
    pub(crate) allocations: EmptyList,
    pub(crate) variables: EmptyList,
}

/// An empty list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EmptyList {
    /// Always `list`.
    #[schema(example = "list")]
    pub(crate) object: &'static str,
    /// Always empty.
    pub(crate) data: Vec<String>,
}

impl Default for EmptyList {
    fn default() -> Self {
        Self {
            object: "list",
            data: Vec::new(),
        }
    }
}
