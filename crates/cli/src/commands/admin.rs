//! `holdfast admin …`: users, keys, servers, subusers and webhooks; backups and jobs to look at.

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

use crate::failure::Failure;
use crate::settings::Settings;
use crate::{database, output, service};

/// What can be managed.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// People
    #[command(subcommand)]
    User(user::UserCommand),
    /// Keys that open the API
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// What is backed up
    #[command(subcommand)]
    Server(server::ServerCommand),
    /// Who else may do what with a server
    #[command(subcommand)]
    Subuser(subuser::SubuserCommand),
    /// Backups of all servers
    #[command(subcommand)]
    Backup(list::BackupCommand),
    /// The job table
    #[command(subcommand)]
    Job(list::JobCommand),
    /// Remove the backups that nothing keeps any more
    Retention(retention::RetentionOptions),
    /// What is done without being asked for
    #[command(subcommand)]
    Maintenance(maintenance::MaintenanceCommand),
    /// Disks, as a whole: verify, import, sweep
    #[command(subcommand)]
    Storage(storage::StorageCommand),
    /// Who else is told what becomes of backups, by HTTP
    #[command(subcommand)]
    Webhook(webhook::WebhookCommand),
}

pub(super) async fn run(
    settings: &Settings,
    data: &Path,
    json: bool,
    command: AdminCommand,
) -> Result<(), Failure> {
    let database = database::connect(settings, data).await?;
    let answer = answer(settings, &database, command).await;
    service::close(&database).await;
    match answer {
        Ok(found) => {
            output::result(json, &found);
            Ok(())
        }
        Err(failure) => {
            if let Some(found) = failure.result() {
                output::result(json, found);
            }
            Err(failure)
        }
    }
}

/// Does what `command` says, and returns what it prints.
///
/// # Errors
/// Why it could not.
pub async fn answer(
    settings: &Settings,
    database: &Database,
    command: AdminCommand,
) -> Result<Value, Failure> {
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

async fn find_user(database: &Database, email: &str) -> Result<users::User, Failure> {
    users::find_by_email(database, email).await?.ok_or_else(|| {
        Failure::new(format!(
            "no user has the address `{email}`: `holdfast admin user list` shows them"
        ))
    })
}

async fn find_server(database: &Database, text: &str) -> Result<Server, Failure> {
    let missing = || {
        Failure::new(format!(
            "no server is named `{text}`: `holdfast admin server list` shows them"
        ))
    };
    let server = ServerRef::parse(text).ok_or_else(missing)?;
    servers::find(database, &server).await?.ok_or_else(missing)
}

fn date(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, false)
}
