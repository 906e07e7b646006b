//! `holdfast admin user create|list`.

use clap::Subcommand;
use serde_json::{Value, json};
use uuid::Uuid;

use holdfast_db::{Database, Error, users};
use holdfast_domain::{EmailAddress, UserId};

use super::{change, date};
use crate::error::CommandError;

/// The subcommands of `holdfast admin user`.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Creates a user
    Create {
        /// Email address of the user
        #[arg(long, value_name = "EMAIL")]
        email: String,
        /// Makes the user an administrator, who has access to every server
        #[arg(long)]
        admin: bool,
    },
    /// Lists users
    List,
}

pub(super) async fn run(database: &Database, command: UserCommand) -> Result<Value, CommandError> {
    match command {
        UserCommand::Create { email, admin } => {
            let email = EmailAddress::parse(&email).map_err(CommandError::new)?;
            let email = email.as_str();
            let id = UserId(Uuid::new_v4());
            let mut change = change::begin(database, "user create").await?;
            users::create(&mut change, id, email, admin)
                .await
                .map_err(|error| match error {
                    Error::Conflict { .. } => {
                        CommandError::new(format!("there is already a user `{email}`"))
                    }
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
