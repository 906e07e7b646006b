//! `holdfast admin user create|list`.

use clap::Subcommand;
use serde_json::{Value, json};
use uuid::Uuid;

use holdfast_db::{Database, Error, users};
use holdfast_domain::{EmailAddress, UserId};

use super::{change, date};
use crate::failure::Failure;

/// What can be done with users.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make a user
    Create {
        /// Address by which the user is known
        #[arg(long, value_name = "EMAIL")]
        email: String,
        /// The user administers the service: every server is theirs
        #[arg(long)]
        admin: bool,
    },
    /// List users
    List,
}

pub(super) async fn run(database: &Database, command: UserCommand) -> Result<Value, Failure> {
    match command {
        UserCommand::Create { email, admin } => {
            let email = EmailAddress::parse(&email).map_err(Failure::new)?;
            let email = email.as_str();
            let id = UserId(Uuid::new_v4());
            let mut change = change::begin(database, "user create").await?;
            users::create(&mut change, id, email, admin)
                .await
                .map_err(|error| match error {
                    Error::Conflict { .. } => Failure::new(format!(
                        "there is a user with the address `{email}` already"
                    )),
                    other => other.into(),
                })?;
            change.commit(Some(&id.to_string()), None).await?;
            Ok(json!({ "uuid": id, "email": email, "admin": admin }))
        }
        UserCommand::List => {
            let users = users::list(database).await?;
            Ok(users
                .into_iter()
                .map(|user| {
                    json!({
                        "uuid": user.id,
                        "email": user.email,
                        "admin": user.is_admin,
                        "created_at": date(user.created_at),
                    })
                })
                .collect())
        }
    }
}
