//! `holdfast admin maintenance list`: what was done without being asked for.

use clap::Subcommand;
use serde_json::{Value, json};

use holdfast_db::{Database, maintenance};

use super::date;
use crate::failure::Failure;

/// What can be done with maintenance.
#[derive(Debug, Subcommand)]
pub enum MaintenanceCommand {
    /// List what was done, newest first
    List {
        /// How many lines at most
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
    },
}

pub(super) async fn run(
    database: &Database,
    command: MaintenanceCommand,
) -> Result<Value, Failure> {
    let MaintenanceCommand::List { limit } = command;
    let runs = maintenance::list(database, limit).await?;
    Ok(runs
        .into_iter()
        .map(|run| {
            let took = run.finished_at.map(|end| end - run.started_at);
            json!({
                "id": run.id,
                "task": run.task,
                "subject": run.subject,
                "worker": run.worker,
                "started_at": date(run.started_at),
                "finished_at": run.finished_at.map(date),
                "duration_ms": took.map(|took| took.num_milliseconds()),
                "counts": run.counts,
                "error": run.error,
            })
        })
        .collect())
}
