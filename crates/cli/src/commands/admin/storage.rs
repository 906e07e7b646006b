//! `holdfast admin storage …`: what lies on a disk, compared with what the database knows of it.

mod import;
mod sweep;
mod verify;

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde_json::Value;

use holdfast_db::Database;
use holdfast_domain::{DiskName, NodeName, ServerId, ServerRef};
use holdfast_storage::Disks;

use crate::failure::Failure;
use crate::settings::Settings;
use crate::{output, service};

/// How often somebody who waits is told how far it is.
const TELL: Duration = Duration::from_secs(5);
/// How many problems are listed; all are counted.
const LISTED: usize = 100;

/// What can be done with disks.
#[derive(Debug, Subcommand)]
pub enum StorageCommand {
    /// Read every archive of a disk back and compare it with what was stored; exit 1 if one is bad
    Verify(ArchiveSelection),
    /// Take backups back into the database that only a disk still knows
    Import {
        /// Which ones
        #[command(flatten)]
        which: ArchiveSelection,
        /// Lock what is taken back, so that no retention takes it before somebody has looked
        #[arg(long)]
        lock: bool,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Compare disks with the database: remove what is left over, tell what is unknown or missing
    Sweep(sweep::SweepOptions),
}

/// Which archives are meant.
#[derive(Debug, Args)]
pub struct ArchiveSelection {
    /// Those on this disk
    #[arg(long, value_name = "DISK")]
    disk: String,
    /// Only this server's: its UUID, or the first eight characters of it
    #[arg(long, value_name = "SERVER")]
    server: Option<String>,
}

pub(super) async fn run(
    settings: &Settings,
    database: &Database,
    command: StorageCommand,
) -> Result<Value, Failure> {
    let disks = service::open_disks(settings, database).await?;
    let node = NodeName::parse(&settings.worker.node).map_err(Failure::new)?;
    match command {
        StorageCommand::Verify(which) => {
            let server = match &which.server {
                Some(text) => Some(super::find_server(database, text).await?.id),
                None => None,
            };
            let disk = disks.get(&which.disk(&disks)?)?;
            let limit = settings.worker.read_limit_bytes_per_second;
            verify::run(database, disk, &node, server, limit).await
        }
        StorageCommand::Import {
            which,
            lock,
            dry_run,
        } => {
            let server = which.server_of_disk(database).await?;
            let disk = disks.get(&which.disk(&disks)?)?;
            let options = import::Options {
                is_dry_run: dry_run,
                locks: lock,
            };
            import::run(database, disk, &node, server, options).await
        }
        // A disk's client lies deep below; one state machine out of all of it is more than the compiler takes.
        StorageCommand::Sweep(options) => Box::pin(sweep::run(settings, database, options)).await,
    }
}

impl ArchiveSelection {
    fn disk(&self, disks: &Disks) -> Result<DiskName, Failure> {
        let found = disks.iter().find(|(name, _)| name.as_str() == self.disk);
        found.map(|(name, _)| name.clone()).ok_or_else(|| {
            let names: Vec<_> = disks.iter().map(|(name, _)| name.to_string()).collect();
            Failure::new(format!(
                "no disk is named `{}`: the settings know {} (storage.disks)",
                self.disk,
                names.join(", ")
            ))
        })
    }

    /// The server, which the database need not know when its whole UUID is given.
    async fn server_of_disk(&self, database: &Database) -> Result<Option<ServerId>, Failure> {
        let Some(text) = &self.server else {
            return Ok(None);
        };
        match ServerRef::parse(text) {
            Some(ServerRef::Id(id)) => Ok(Some(id)),
            _ => Ok(Some(super::find_server(database, text).await?.id)),
        }
    }
}

/// Tells somebody who waits how far it is, on stderr.
struct Teller(Instant);

impl Teller {
    fn begin() -> Self {
        Self(Instant::now())
    }

    fn tell(&mut self, text: impl FnOnce() -> String) {
        if self.0.elapsed() >= TELL {
            self.0 = Instant::now();
            output::problem(&text());
        }
    }
}
