//! `holdfast admin storage …`: compares a disk with the database.

mod import;
mod sweep;
mod verify;

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde_json::Value;

use holdfast_db::Database;
use holdfast_domain::{DiskName, ServerId, ServerRef};
use holdfast_storage::Disks;

use crate::error::CommandError;
use crate::settings::Settings;
use crate::{output, service};

/// The interval of progress messages.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);
/// The maximum number of problems that are listed. All are counted.
const LISTED_MAX: usize = 100;

/// The subcommands of `holdfast admin storage`.
#[derive(Debug, Subcommand)]
pub enum StorageCommand {
    /// Verifies every archive of a disk; exit code 1 if one is damaged or cannot be read
    Verify(ArchiveSelection),
    /// Imports the backups that are on a disk but missing from the database
    Import {
        /// The archives.
        #[command(flatten)]
        selection: ArchiveSelection,
        /// Locks the imported backups, so that retention does not remove them
        #[arg(long)]
        lock: bool,
        /// Shows what would be imported, and imports nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Compares disks with the database: removes leftovers, reports unknown and missing objects
    Sweep(sweep::SweepOptions),
}

/// A selection of archives.
#[derive(Debug, Args)]
pub struct ArchiveSelection {
    /// Name of the disk
    #[arg(long, value_name = "DISK")]
    disk: String,
    /// UUID of a server, or its first eight characters, to process only that server
    #[arg(long, value_name = "SERVER")]
    server: Option<String>,
}

pub(super) async fn run(
    settings: &Settings,
    database: &Database,
    command: StorageCommand,
) -> Result<Value, CommandError> {
    let disks = service::open_disks(settings, database).await?;
    let node = &settings.api.node;
    match command {
        StorageCommand::Verify(selection) => {
            let server = match &selection.server {
                Some(text) => Some(super::find_server(database, text).await?.id),
                None => None,
            };
            let disk = disks.get(&selection.disk(&disks)?)?;
            verify::run(database, disk, server, &settings.worker).await
        }
        StorageCommand::Import {
            selection,
            lock,
            dry_run,
        } => {
            let server = selection.server_id(database).await?;
            let disk = disks.get(&selection.disk(&disks)?)?;
            let options = import::ImportOptions {
                is_dry_run: dry_run,
                locks: lock,
            };
            import::run(database, disk, node, server, options).await
        }
        // Boxed, because the state machine of a disk's client is large.
        StorageCommand::Sweep(options) => Box::pin(sweep::run(settings, database, options)).await,
    }
}

impl ArchiveSelection {
    fn disk(&self, disks: &Disks) -> Result<DiskName, CommandError> {
        let found = disks.iter().find(|(name, _)| name.as_str() == self.disk);
        found.map(|(name, _)| name.clone()).ok_or_else(|| {
            let names: Vec<_> = disks.iter().map(|(name, _)| name.to_string()).collect();
            CommandError::new(format!(
                "there is no disk `{}`: the settings have {} (storage.disks)",
                self.disk,
                names.join(", ")
            ))
        })
    }

    /// Returns the ID of the selected server. With a full UUID, the server need not be in the
    /// database.
    async fn server_id(&self, database: &Database) -> Result<Option<ServerId>, CommandError> {
        let Some(text) = &self.server else {
            return Ok(None);
        };
        match ServerRef::parse(text) {
            Some(ServerRef::Id(id)) => Ok(Some(id)),
            _ => Ok(Some(super::find_server(database, text).await?.id)),
        }
    }
}

/// Prints progress messages to stderr, at most one per [`PROGRESS_INTERVAL`].
struct ProgressReporter(Instant);

impl ProgressReporter {
    fn new() -> Self {
        Self(Instant::now())
    }

    fn report(&mut self, text: impl FnOnce() -> String) {
        if self.0.elapsed() >= PROGRESS_INTERVAL {
            self.0 = Instant::now();
            output::problem(&text());
        }
    }
}
