//! The objects of accounts and servers that clients of a panel expect. They are the same in both
//! profiles.

pub(crate) mod objects;

use holdfast_domain::{Permission, Server, ServerState, UserId};

use self::objects::{
    AccountAttributes, AccountObject, ClientServerAttributes, ClientServerObject, EmptyList,
    FeatureLimits, MachineLimits, OneServer, OneServerMeta, Relationships, SftpDetails,
};

/// A server, with the facts about it that depend on the caller, on jobs and on settings.
pub(crate) struct ServerSummary<'a> {
    pub(crate) server: &'a Server,
    /// Whether the caller owns the server.
    pub(crate) is_owner: bool,
    /// Whether a restore of the server is queued or running.
    pub(crate) is_restoring: bool,
    /// The largest number of backups that the server may have.
    pub(crate) backup_limit: u32,
}

/// Returns the object of the caller. The email address stands in for the user name.
pub(crate) fn account(user: UserId, email: &str, is_admin: bool) -> AccountObject {
    AccountObject {
        object: "user",
        attributes: AccountAttributes {
            id: 0,
            uuid: user.0,
            admin: is_admin,
            username: email.to_owned(),
            email: email.to_owned(),
            first_name: String::new(),
            last_name: String::new(),
            language: "en",
        },
    }
}

/// Returns the object of a server in a list.
pub(crate) fn server(summary: &ServerSummary<'_>) -> ClientServerObject {
    ClientServerObject {
        object: "server",
        attributes: attributes(summary),
    }
}

/// Returns the object of one server, with the permissions of the caller.
pub(crate) fn one_server(
    summary: &ServerSummary<'_>,
    permissions: impl Iterator<Item = Permission>,
) -> OneServer {
    OneServer {
        object: "server",
        attributes: attributes(summary),
        meta: OneServerMeta {
            is_server_owner: summary.is_owner,
            user_permissions: permissions.map(Permission::as_str).collect(),
        },
    }
}

fn attributes(summary: &ServerSummary<'_>) -> ClientServerAttributes {
    let server = summary.server;
    let state = match summary.is_restoring {
        true => ServerState::Restoring,
        false => server.state,
    };
    ClientServerAttributes {
        server_owner: summary.is_owner,
        identifier: server.id.short(),
        internal_id: 0,
        uuid: server.id.0,
        name: server.name.clone(),
        node: server.node.to_string(),
        is_node_under_maintenance: false,
        sftp_details: SftpDetails {
            ip: String::new(),
            port: 0,
        },
        description: String::new(),
        limits: MachineLimits::default(),
        invocation: String::new(),
        docker_image: String::new(),
        egg_features: Vec::new(),
        feature_limits: FeatureLimits {
            databases: 0,
            allocations: 0,
            backups: summary.backup_limit,
        },
        status: match state {
            ServerState::Normal => None,
            ServerState::Installing => Some("installing"),
            ServerState::Suspended => Some("suspended"),
            ServerState::Restoring => Some("restoring_backup"),
        },
        is_suspended: state == ServerState::Suspended,
        is_installing: state == ServerState::Installing,
        is_transferring: false,
        relationships: Relationships {
            allocations: EmptyList::default(),
            variables: EmptyList::default(),
        },
    }
}
