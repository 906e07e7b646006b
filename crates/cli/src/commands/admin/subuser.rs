//! `holdfast admin subuser set|list`.

use clap::Subcommand;
use serde_json::{Value, json};

use holdfast_db::{Database, subusers};
use holdfast_domain::Permission;

use super::{change, find_server, find_user};
use crate::error::CommandError;

/// The subcommands of `holdfast admin subuser`.
#[derive(Debug, Subcommand)]
pub enum SubuserCommand {
    /// Sets the permissions of a user on a server, and replaces earlier ones
    Set {
        /// UUID of the server, or its first eight characters
        #[arg(long, value_name = "SERVER")]
        server: String,
        /// Email address of the user
        #[arg(long, value_name = "EMAIL")]
        user: String,
        /// Permission such as backup.read; repeatable; without it, the subuser is removed
        #[arg(long, value_name = "PERMISSION", num_args = 1.., value_parser = permission)]
        permission: Vec<Permission>,
    },
    /// Lists subusers
    List {
        /// UUID of a server, or its first eight characters, to list only its subusers
        #[arg(long, value_name = "SERVER")]
        server: Option<String>,
    },
}

pub(super) async fn run(
    database: &Database,
    command: SubuserCommand,
) -> Result<Value, CommandError> {
    match command {
        SubuserCommand::Set {
            server,
            user,
            mut permission,
        } => {
            let server = find_server(database, &server).await?;
            let user = find_user(database, &user).await?;
            permission.sort();
            permission.dedup();
            let mut change = change::begin(database, "subuser set").await?;
            subusers::set(&mut change, server.id, user.id, &permission).await?;
            let subject = format!("{}/{}", server.id, user.id);
            change.commit(Some(&subject), None).await?;
            let permissions = names(&permission);
            Ok(json!({ "server": server.id, "user": user.email, "permissions": permissions }))
        }
        SubuserCommand::List { server } => {
            let subusers = match server {
                Some(text) => {
                    let server = find_server(database, &text).await?.id;
                    let subusers = subusers::list(database, server).await?;
                    subusers.into_iter().map(|found| (server, found)).collect()
                }
                None => subusers::list_all(database).await?,
            };
            Ok(subusers
                .into_iter()
                .map(|(server, subuser)| {
                    json!({
                        "server": server,
                        "uuid": subuser.user,
                        "user": subuser.email,
                        "permissions": names(&subuser.permissions),
                    })
                })
                .collect())
        }
    }
}

fn names(permissions: &[Permission]) -> Vec<&'static str> {
    permissions
        .iter()
        .map(|permission| permission.as_str())
        .collect()
}

fn permission(text: &str) -> Result<Permission, String> {
    Permission::parse(text)
        .ok_or_else(|| format!("must be one of {}", names(&Permission::ALL).join(", ")))
}
