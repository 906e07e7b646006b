//! `holdfast client …`: the API on the command line, for the users of a service.
//!
//! It needs only the URL of the service and an API key; no settings, database or disk.

mod api;
mod change;
mod compare;
mod contents;
mod create;
mod credentials;
mod download;
mod events;
mod find;
mod list;
mod login;
mod restore;
mod schedule;
mod wait;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::error::CommandError;

use api::Api;

/// What `--help` says about all subcommands.
const HELP: &str = "\
SERVER is the UUID of a server, its first eight characters (the short ID), or its name.
BACKUP is the UUID of a backup, its first eight characters, its name, or `latest`: the newest
completed backup (for `show`, `wait` and `cancel`, the newest one in any state).
An ID is preferred to a name.

Exit codes:
  0  done
  1  failed
  2  the command line is wrong
  3  completed with notes: some files were not archived or restored as they were

Environment:
  HOLDFAST_URL      URL of the service, in place of the one that `login` has stored
  HOLDFAST_KEY      API key, in place of the one that `login` has stored
  XDG_CONFIG_HOME   folder of holdfast/client.json, where `login` stores both [default: ~/.config]

Requests that the service refuses for now (429, 503) are repeated a few times. Proxies that the
environment names (HTTPS_PROXY) are not used.";

/// `holdfast client`.
#[derive(Debug, Args)]
#[command(
    after_long_help = HELP,
    after_help = "`--help` explains names, exit codes and variables."
)]
pub struct ClientOptions {
    /// Prints the result as one JSON value; `events` prints one JSON object a line
    #[arg(long, global = true)]
    json: bool,
    /// File with certificates (PEM) to trust in addition to those of the system; `login` stores its
    /// path
    #[arg(long, value_name = "FILE", env = "HOLDFAST_CA_FILE", global = true)]
    ca_file: Option<PathBuf>,
    /// The subcommand.
    #[command(subcommand)]
    command: ClientCommand,
}

/// The subcommands of `holdfast client`.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Stores the URL of a service and an API key, which is read from the terminal or from stdin,
    /// after the service has accepted it
    Login {
        /// URL of the service, such as `https://backups.example.com`
        url: String,
    },
    /// Removes the stored URL and key
    Logout,
    /// Lists the servers that the key may see
    Servers,
    /// Lists the backups of a server, newest first
    Ls {
        /// UUID, short ID or name of the server
        server: String,
    },
    /// Shows a backup
    Show(BackupOptions),
    /// Creates a backup
    Create(create::CreateBackupOptions),
    /// Waits until the backup, or its restore or verification, has ended
    Wait {
        /// UUID, short ID or name of the server
        server: String,
        /// UUID, short ID or name of the backup, or `latest`
        #[arg(default_value = "latest")]
        backup: String,
    },
    /// Cancels a backup that is being created
    Cancel(BackupOptions),
    /// Downloads the archive of a backup, checks its hash, and continues an earlier download
    Download(download::DownloadOptions),
    /// Restores the files of a server from a backup
    Restore(restore::RestoreBackupOptions),
    /// Lists a folder of a backup
    Browse(contents::BrowseOptions),
    /// Writes one file of a backup to standard output
    Cat(contents::CatOptions),
    /// Lists what was added, changed and removed between two backups
    Compare(compare::CompareOptions),
    /// Protects a backup from deletion
    Lock(BackupOptions),
    /// Allows the deletion of a backup again
    Unlock(BackupOptions),
    /// Renames a backup
    Rename {
        /// The backup.
        #[command(flatten)]
        backup: BackupOptions,
        /// New name
        name: String,
    },
    /// Deletes a backup and its archive
    Rm(BackupOptions),
    /// Has a backup verified: a worker reads its archive and checks it
    Verify {
        /// The backup.
        #[command(flatten)]
        backup: BackupOptions,
        /// Waits for the result
        #[arg(long)]
        wait: bool,
    },
    /// Prints the events of a server's backups as they happen, until it is stopped
    Events(events::EventsOptions),
    /// Manages the schedules of a server
    #[command(subcommand)]
    Schedule(schedule::ClientScheduleCommand),
}

/// The arguments that name a backup.
#[derive(Debug, Args)]
pub struct BackupOptions {
    /// UUID, short ID or name of the server
    server: String,
    /// UUID, short ID or name of the backup, or `latest`
    backup: String,
}

pub(super) async fn run(options: ClientOptions) -> Result<(), CommandError> {
    let (json, ca_file) = (options.json, options.ca_file);
    match options.command {
        ClientCommand::Login { url } => return login::login(json, &url, ca_file).await,
        ClientCommand::Logout => return login::logout(json),
        _ => {}
    }
    let mut credentials = credentials::load()?;
    credentials.ca_file = ca_file.or(credentials.ca_file);
    let api = &Api::new(&credentials)?;
    match options.command {
        // Both have run.
        ClientCommand::Login { .. } | ClientCommand::Logout => Ok(()),
        ClientCommand::Servers => list::servers(api, json).await,
        ClientCommand::Ls { server } => list::backups(api, json, &server).await,
        ClientCommand::Show(asked) => list::show(api, json, &asked.server, &asked.backup).await,
        ClientCommand::Create(options) => create::run(api, json, options).await,
        ClientCommand::Wait { server, backup } => wait::run(api, json, &server, &backup).await,
        ClientCommand::Cancel(asked) => {
            change::cancel(api, json, &asked.server, &asked.backup).await
        }
        ClientCommand::Download(options) => download::run(api, json, options).await,
        ClientCommand::Restore(options) => restore::run(api, json, options).await,
        ClientCommand::Browse(options) => contents::browse(api, json, &options).await,
        ClientCommand::Cat(options) => contents::cat(api, &options).await,
        ClientCommand::Compare(options) => compare::run(api, json, &options).await,
        ClientCommand::Lock(asked) => {
            change::lock(api, json, &asked.server, &asked.backup, true).await
        }
        ClientCommand::Unlock(asked) => {
            change::lock(api, json, &asked.server, &asked.backup, false).await
        }
        ClientCommand::Rename { backup, name } => {
            change::rename(api, json, &backup.server, &backup.backup, &name).await
        }
        ClientCommand::Rm(asked) => change::remove(api, json, &asked.server, &asked.backup).await,
        ClientCommand::Verify { backup, wait } => {
            change::verify(api, json, &backup.server, &backup.backup, wait).await
        }
        ClientCommand::Events(options) => events::run(api, json, &options).await,
        ClientCommand::Schedule(command) => schedule::run(api, json, command).await,
    }
}
