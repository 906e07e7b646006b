//! `holdfast admin maintenance list`: lists maintenance runs.

use clap::Subcommand;
use serde_json::{Value, json};

use holdfast_db::{Database, maintenance};

use super::date;
use crate::error::CommandError;

/// The subcommands of `holdfast admin maintenance`.
#[derive(Debug, Subcommand)]
pub enum MaintenanceCommand {
    /// Lists maintenance runs, newest first
    List {
        /// Maximum number of rows
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
    },
}

pub(super) async fn run(
    database: &Database,
    command: MaintenanceCommand,
) -> Result<Value, CommandError> {
    let MaintenanceCommand::List { limit } = command;
    let runs = maintenance::list(database, limit).await?;
    Ok(runs
        .into_iter()
        .map(|run| {
            let duration = run.finished_at.map(|end| end - run.started_at);
            json!({
                "id": run.id,
                "task": run.task,
                "subject": run.subject,
                "worker": run.worker,
                "started_at": date(run.started_at),
                "finished_at": run.finished_at.map(date),
                "duration_ms": duration.map(|duration| duration.num_milliseconds()),
                "counts": run.counts,
                "error": run.error,
            })
        })
        .collect())
}
