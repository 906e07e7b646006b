//! `holdfast admin backup list` and `holdfast admin job list`: to look, not to touch.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use holdfast_db::{Database, backups, jobs};
use holdfast_domain::{BackupState, JobState, ServerId};

use super::{date, find_server};
use crate::failure::Failure;

/// What can be done with backups.
#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// List backups, newest first
    List {
        /// Which ones
        #[command(flatten)]
        filter: ListFilter,
        /// Only those in this state
        #[arg(long, value_name = "STATE", value_parser = ["creating", "completed", "failed"])]
        state: Option<String>,
    },
}

/// What can be done with jobs.
#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// List jobs, newest first
    List {
        /// Which ones
        #[command(flatten)]
        filter: ListFilter,
        /// Only those in this state
        #[arg(long, value_name = "STATE",
              value_parser = ["available", "scheduled", "running", "completed", "cancelled", "discarded"])]
        state: Option<String>,
    },
}

/// Which rows are listed.
#[derive(Debug, Args)]
pub struct ListFilter {
    /// Only this server's: its UUID, or the first eight characters of it
    #[arg(long, value_name = "SERVER")]
    server: Option<String>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
}

impl ListFilter {
    async fn server(&self, database: &Database) -> Result<Option<ServerId>, Failure> {
        match &self.server {
            Some(text) => Ok(Some(find_server(database, text).await?.id)),
            None => Ok(None),
        }
    }
}

pub(super) async fn backups(database: &Database, command: BackupCommand) -> Result<Value, Failure> {
    let BackupCommand::List { filter, state } = command;
    let server = filter.server(database).await?;
    let backups = backups::list_all(database, server, state.as_deref(), filter.limit).await?;
    Ok(backups
        .into_iter()
        .map(|backup| {
            let (state, size_bytes, sha256, error) = match &backup.state {
                BackupState::Creating => ("creating", 0, None, None),
                BackupState::Completed(completed) => (
                    "completed",
                    completed.size_bytes,
                    Some(hex::encode(completed.sha256)),
                    None,
                ),
                BackupState::Failed { error, .. } => ("failed", 0, None, Some(error)),
            };
            json!({
                "uuid": backup.id,
                "server": backup.server,
                "name": backup.name,
                "state": state,
                "bytes": size_bytes,
                "sha256_hash": sha256,
                "disk": backup.disk,
                "is_locked": backup.is_locked,
                "is_damaged": backup.damaged_at.is_some(),
                "created_at": date(backup.created_at),
                "error": error,
            })
        })
        .collect())
}

pub(super) async fn jobs(database: &Database, command: JobCommand) -> Result<Value, Failure> {
    let JobCommand::List { filter, state } = command;
    let server = filter.server(database).await?;
    let state = state.as_deref().and_then(JobState::parse);
    let jobs = jobs::list(database, server, state, filter.limit).await?;
    Ok(jobs
        .into_iter()
        .map(|job| {
            json!({
                "id": job.id,
                "kind": job.kind.as_str(),
                "state": job.state.as_str(),
                "server": job.server,
                "backup": job.backup.some(),
                "node": job.node,
                "attempt": job.attempt,
                "max_attempts": job.max_attempts,
                "claimed_by": job.claimed_by,
                "created_at": date(job.created_at),
                "finalized_at": job.finalized_at.map(date),
                "progress": job.progress,
                "errors": job.errors,
            })
        })
        .collect())
}
