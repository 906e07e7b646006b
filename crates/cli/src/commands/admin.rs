//! `holdfast admin …`: manages users, keys, servers, subusers, schedules and webhooks; lists
//! backups and jobs.

mod change;
mod key;
mod list;
mod maintenance;
mod retention;
mod schedule;
mod server;
mod storage;
mod subuser;
mod user;
mod webhook;

use std::path::Path;
use std::pin::Pin;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Subcommand;
use futures_util::{Stream, TryStreamExt as _};
use serde_json::Value;

use holdfast_db::operator_log::Change;
use holdfast_db::{Database, servers, users};
use holdfast_domain::{Server, ServerRef};

use crate::error::CommandError;
use crate::output::RowWriter;
use crate::settings::Settings;
use crate::{database, output, service};

/// The subcommands of `holdfast admin`.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Manages users
    #[command(subcommand)]
    User(user::UserCommand),
    /// Manages API keys
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Manages servers
    #[command(subcommand)]
    Server(server::ServerCommand),
    /// Manages the users that share a server, and their permissions
    #[command(subcommand)]
    Subuser(subuser::SubuserCommand),
    /// Manages schedules, which make backups of servers by themselves
    #[command(subcommand)]
    Schedule(schedule::ScheduleCommand),
    /// Lists backups of all servers
    #[command(subcommand)]
    Backup(list::BackupCommand),
    /// Lists jobs
    #[command(subcommand)]
    Job(list::JobCommand),
    /// Removes the backups that the retention rules do not keep
    Retention(retention::RetentionOptions),
    /// Lists maintenance runs: retention, sweeps, pruning (removal of old database entries)
    #[command(subcommand)]
    Maintenance(maintenance::MaintenanceCommand),
    /// Verifies, imports and sweeps whole disks
    #[command(subcommand)]
    Storage(storage::StorageCommand),
    /// Manages webhooks, which report backup events by HTTP
    #[command(subcommand)]
    Webhook(webhook::WebhookCommand),
}

pub(super) async fn run(
    settings: &Settings,
    data: &Path,
    json: bool,
    command: AdminCommand,
) -> Result<(), CommandError> {
    let database = database::connect(settings, data).await?;
    let ended = match execute(settings, &database, command).await {
        Ok(outcome) => outcome.print(json).await,
        Err(error) => match error.result().map(|result| output::result(json, result)) {
            None | Some(Ok(())) => Err(error),
            Some(Err(lost)) => Err(lost.after(&error.to_string())),
        },
    };
    service::close(&database).await;
    ended
}

/// The outcome of a command.
pub enum Outcome {
    /// The command was carried out, and this is its result.
    Done(Value),
    /// The command has created a secret, which it shows only once: here.
    Secret(Box<UncommittedSecret>),
    /// The command lists any number of rows.
    Pages(Pages),
}

/// A list of rows in pages, which are read one after another.
pub type Pages = Pin<Box<dyn Stream<Item = Result<Vec<Value>, CommandError>> + Send>>;

/// A secret that does not exist before it has been shown, so that none is lost.
#[derive(Debug)]
pub struct UncommittedSecret {
    result: Value,
    /// What was created: `key`.
    noun: &'static str,
    /// The ID of what was created.
    id: String,
    change: Change,
}

impl From<Value> for Outcome {
    fn from(result: Value) -> Self {
        Self::Done(result)
    }
}

impl Outcome {
    /// Prints the result.
    async fn print(self, json: bool) -> Result<(), CommandError> {
        match self {
            Self::Done(result) => {
                output::result(json, &result).map_err(|lost| match lost.is_silent() {
                    true => lost,
                    false => lost.after("the command was carried out, but its result is lost"),
                })
            }
            Self::Secret(secret) => {
                let shown = output::result(json, &secret.result);
                let noun = secret.noun;
                shown.map_err(|lost| lost.after(&format!("the {noun} was not created")))?;
                secret.commit().await.map(drop)
            }
            Self::Pages(mut pages) => {
                let mut rows = RowWriter::new(json);
                while let Some(page) = pages.try_next().await? {
                    rows.write(&page)?;
                }
                rows.finish()
            }
        }
    }

    /// Returns the result, for a caller who shows it in another way.
    ///
    /// # Errors
    /// If it cannot be committed.
    pub async fn result(self) -> Result<Value, CommandError> {
        match self {
            Self::Done(result) => Ok(result),
            Self::Secret(secret) => secret.commit().await,
            Self::Pages(pages) => Ok(pages.try_concat().await?.into()),
        }
    }
}

impl UncommittedSecret {
    async fn commit(self) -> Result<Value, CommandError> {
        let committed = self.change.commit(Some(&self.id), None).await;
        committed.map_err(|error| {
            let noun = self.noun;
            CommandError::with_cause(format!("the {noun} that was shown is not valid"), &error)
        })?;
        Ok(self.result)
    }
}

/// Executes a command.
///
/// # Errors
/// The reason that the command failed.
pub async fn execute(
    settings: &Settings,
    database: &Database,
    command: AdminCommand,
) -> Result<Outcome, CommandError> {
    let result = match command {
        AdminCommand::Key(command) => return key::run(database, command).await,
        AdminCommand::Webhook(command) => return webhook::run(database, command).await,
        AdminCommand::Schedule(command) => {
            return schedule::run(settings, database, command).await;
        }
        AdminCommand::User(command) => user::run(database, command).await,
        AdminCommand::Server(command) => server::run(settings, database, command).await,
        AdminCommand::Subuser(command) => subuser::run(database, command).await,
        AdminCommand::Backup(command) => list::backups(database, command).await,
        AdminCommand::Job(command) => list::jobs(database, command).await,
        AdminCommand::Retention(options) => retention::run(settings, database, options).await,
        AdminCommand::Maintenance(command) => maintenance::run(database, command).await,
        AdminCommand::Storage(command) => storage::run(settings, database, command).await,
    };
    result.map(Outcome::from)
}

async fn find_user(database: &Database, email: &str) -> Result<users::User, CommandError> {
    users::find_by_email(database, email).await?.ok_or_else(|| {
        CommandError::new(format!(
            "there is no user `{email}`: `holdfast admin user list` shows the users"
        ))
    })
}

async fn find_server(database: &Database, text: &str) -> Result<Server, CommandError> {
    let missing = || {
        CommandError::new(format!(
            "there is no server `{text}`: `holdfast admin server list` shows the servers"
        ))
    };
    let server = ServerRef::parse(text).ok_or_else(missing)?;
    servers::find(database, &server).await?.ok_or_else(missing)
}

fn date(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, false)
}
