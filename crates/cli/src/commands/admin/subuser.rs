//! `holdfast admin subuser set|list`.

use clap::Subcommand;
use serde_json::{Value, json};

use holdfast_db::{Database, subusers};
use holdfast_domain::Permission;

use super::{change, find_server, find_user};
use crate::failure::Failure;

/// What can be done with subusers.
#[derive(Debug, Subcommand)]
pub enum SubuserCommand {
    /// Say what a user may do with a server: replaces what was said before
    Set {
        /// The server's UUID, or the first eight characters of it
        #[arg(long, value_name = "SERVER")]
        server: String,
        /// Address of the user
        #[arg(long, value_name = "EMAIL")]
        user: String,
        /// What the user may, such as backup.read; repeat for more; none removes the subuser
        #[arg(long, value_name = "PERMISSION", num_args = 1.., value_parser = permission)]
        permission: Vec<Permission>,
    },
    /// List a server's subusers
    List {
        /// The server's UUID, or the first eight characters of it
        #[arg(long, value_name = "SERVER")]
        server: String,
    },
}

pub(super) async fn run(database: &Database, command: SubuserCommand) -> Result<Value, Failure> {
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
            Ok(
                json!({ "server": server.id, "user": user.email, "permissions": names(&permission) }),
            )
        }
        SubuserCommand::List { server } => {
            let server = find_server(database, &server).await?;
            let subusers = subusers::list(database, server.id).await?;
            Ok(subusers
                .into_iter()
                .map(|subuser| {
                    json!({ "uuid": subuser.user, "user": subuser.email, "permissions": names(&subuser.permissions) })
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
        .ok_or_else(|| format!("not one of {}", names(&Permission::ALL).join(", ")))
}
