//! `holdfast admin storage …`: disks, looked at as a whole.

mod sweep;

use clap::Subcommand;
use serde_json::Value;

use holdfast_db::Database;

use crate::failure::Failure;
use crate::settings::Settings;

/// What can be done with disks.
#[derive(Debug, Subcommand)]
pub enum StorageCommand {
    /// Compare disks with the database: remove what is left over, tell what is unknown or missing
    Sweep(sweep::SweepOptions),
}

pub(super) async fn run(
    settings: &Settings,
    database: &Database,
    command: StorageCommand,
) -> Result<Value, Failure> {
    match command {
        // A disk's client lies deep below; one state machine out of all of it is more than the compiler takes.
        StorageCommand::Sweep(options) => Box::pin(sweep::run(settings, database, options)).await,
    }
}
