//! `holdfast admin backup list` and `holdfast admin job list`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use holdfast_db::{Database, backups, jobs};
use holdfast_domain::{BackupState, JobState, ServerId};

use super::{date, find_server};
use crate::error::CommandError;

/// The subcommands of `holdfast admin backup`.
#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Lists backups, newest first
    List {
        /// The filter.
        #[command(flatten)]
        filter: ListFilter,
        /// Lists only backups in this state
        #[arg(long, value_name = "STATE", value_parser = ["creating", "completed", "failed"])]
        state: Option<String>,
    },
}

/// The subcommands of `holdfast admin job`.
#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// Lists jobs, newest first
    List {
        /// The filter.
        #[command(flatten)]
        filter: ListFilter,
        /// Lists only jobs in this state
        #[arg(
            long,
            value_name = "STATE",
            value_parser = [
                "available", "scheduled", "running", "completed", "cancelled", "discarded",
            ]
        )]
        state: Option<String>,
    },
}

/// The filter of a list.
#[derive(Debug, Args)]
pub struct ListFilter {
    /// UUID of a server, or its first eight characters, to list only rows of that server
    #[arg(long, value_name = "SERVER")]
    server: Option<String>,
    /// Maximum number of rows
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
}

impl ListFilter {
    async fn server(&self, database: &Database) -> Result<Option<ServerId>, CommandError> {
        match &self.server {
            Some(text) => Ok(Some(find_server(database, text).await?.id)),
            None => Ok(None),
        }
    }
}

pub(super) async fn backups(
    database: &Database,
    command: BackupCommand,
) -> Result<Value, CommandError> {
    let BackupCommand::List { filter, state } = command;
    let server = filter.server(database).await?;
    let backups = backups::list_all(database, server, state.as_deref(), filter.limit).await?;
    Ok(backups
        .into_iter()
        .map(|backup| {
            let work = match &backup.state {
                BackupState::Completed(completed) => completed.work.as_ref(),
                BackupState::Creating | BackupState::Failed { .. } => None,
            };
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
                "reused_from": work.and_then(|work| work.reused_from),
                "reused_bytes": work.map(|work| work.reused_bytes),
                "read_bytes": work.map(|work| work.read_bytes),
                "stored_bytes": work.and_then(|work| work.stored_bytes),
            })
        })
        .collect())
}

pub(super) async fn jobs(database: &Database, command: JobCommand) -> Result<Value, CommandError> {
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
