//! `holdfast admin …`: manages users, keys, servers, subusers and webhooks; lists backups and jobs.

mod change;
mod key;
mod list;
mod maintenance;
mod retention;
mod server;
mod storage;
mod subuser;
mod user;
mod webhook;

use std::path::Path;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Subcommand;
use serde_json::Value;

use holdfast_db::{Database, servers, users};
use holdfast_domain::{Server, ServerRef};

use crate::error::CommandError;
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
    let result = execute(settings, &database, command).await;
    service::close(&database).await;
    match result {
        Ok(result) => {
            output::result(json, &result);
            Ok(())
        }
        Err(error) => {
            if let Some(result) = error.result() {
                output::result(json, result);
            }
            Err(error)
        }
    }
}

/// Executes a command, and returns the result to print.
///
/// # Errors
/// The reason that the command failed.
pub async fn execute(
    settings: &Settings,
    database: &Database,
    command: AdminCommand,
) -> Result<Value, CommandError> {
    match command {
        AdminCommand::User(command) => user::run(database, command).await,
        AdminCommand::Key(command) => key::run(database, command).await,
        AdminCommand::Server(command) => server::run(settings, database, command).await,
        AdminCommand::Subuser(command) => subuser::run(database, command).await,
        AdminCommand::Backup(command) => list::backups(database, command).await,
        AdminCommand::Job(command) => list::jobs(database, command).await,
        AdminCommand::Retention(options) => retention::run(settings, database, options).await,
        AdminCommand::Maintenance(command) => maintenance::run(database, command).await,
        AdminCommand::Storage(command) => storage::run(settings, database, command).await,
        AdminCommand::Webhook(command) => webhook::run(database, command).await,
    }
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
