//! The shapes of accounts and servers as clients of a panel read them. They are the same in both profiles.

pub(crate) mod objects;

use holdfast_domain::{Permission, Server, ServerState, UserId};

use self::objects::{
    AccountAttributes, AccountObject, ClientServerAttributes, ClientServerObject, FeatureLimits,
    MachineLimits, Nothing, OneServer, OneServerMeta, Relationships, SftpDetails,
};

/// What is told of a server.
pub(crate) struct Told<'a> {
    /// Which.
    pub(crate) server: &'a Server,
    /// Whether it is the caller's own.
    pub(crate) is_owner: bool,
    /// Whether it is being restored, or waits for it.
    pub(crate) is_restoring: bool,
    /// How many backups it may have.
    pub(crate) backups: u32,
}

/// The caller. Holdfast knows addresses and no names.
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

/// A server of a list.
pub(crate) fn server(told: &Told<'_>) -> ClientServerObject {
    ClientServerObject {
        object: "server",
        attributes: attributes(told),
    }
}

/// One server, with what the caller may do.
pub(crate) fn one_server(
    told: &Told<'_>,
    permissions: impl Iterator<Item = Permission>,
) -> OneServer {
    OneServer {
        object: "server",
        attributes: attributes(told),
        meta: OneServerMeta {
            is_server_owner: told.is_owner,
            user_permissions: permissions.map(Permission::as_str).collect(),
        },
    }
}

fn attributes(told: &Told<'_>) -> ClientServerAttributes {
    let server = told.server;
    let state = match told.is_restoring {
        true => ServerState::Restoring,
        false => server.state,
    };
    ClientServerAttributes {
        server_owner: told.is_owner,
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
            backups: told.backups,
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
            allocations: Nothing::default(),
            variables: Nothing::default(),
        },
    }
}
