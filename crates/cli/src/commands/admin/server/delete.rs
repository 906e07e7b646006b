//! `holdfast admin server delete`: enqueues a deletion, as the application API does, and waits for
//! it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use holdfast_db::{Database, Error, jobs, servers, workers};
use holdfast_domain::job::{DeleteServerArgs, ServerBackupsAction};
use holdfast_domain::limit::{self, ServerBusy};
use holdfast_domain::{JobId, JobState, NodeName};

use crate::commands::admin::{change, find_server};
use crate::error::CommandError;
use crate::output;

/// How often the job is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// The time before a message says what the command waits for.
const MESSAGE_DELAY: Duration = Duration::from_secs(3);
/// The time to wait for a worker to claim the job.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) async fn run(
    database: &Database,
    server: &str,
    backups: ServerBackupsAction,
) -> Result<Value, CommandError> {
    let server = find_server(database, server).await?;
    let busy = |reason: ServerBusy| {
        let job = match reason {
            ServerBusy::Restoring => "restore",
            ServerBusy::BackingUp | ServerBusy::Installing | ServerBusy::Suspended => "backup",
        };
        CommandError::new(format!(
            "a {job} of server `{}` is in progress: try again when it has ended \
             (`holdfast admin job list` shows it)",
            server.id.short()
        ))
    };
    let deleted = || {
        let id = server.id.short();
        CommandError::new(format!("server `{id}` was deleted in the meantime"))
    };

    let mut change = change::begin(database, "server delete").await?;
    let locked = servers::lock_and_find(&mut change, server.id).await?;
    let (locked, load) = locked.ok_or_else(deleted)?;
    limit::check_no_file_job(load.unfinished).map_err(busy)?;
    let args = DeleteServerArgs { backups };
    let job = servers::begin_deletion(&mut change, &locked, args)
        .await
        .map_err(|error| match error {
            Error::Conflict { .. } => busy(ServerBusy::BackingUp),
            other => other.into(),
        })?;
    change.commit(Some(&server.id.to_string()), None).await?;

    wait_for_deletion(database, job, &locked.node).await?;
    Ok(json!({
        "uuid": server.id,
        "identifier": server.id.short(),
        "deleted": true,
        "backups": backups.as_str(),
        "job": job,
    }))
}

/// Waits until a worker of the node has deleted the server.
async fn wait_for_deletion(
    database: &Database,
    job: JobId,
    node: &NodeName,
) -> Result<(), CommandError> {
    let begun = Instant::now();
    let mut has_message = false;
    loop {
        let state = jobs::state(database, job).await?;
        let is_queued = match &state {
            // A job that is gone was completed and pruned: failed jobs are kept longer.
            None | Some((JobState::Completed, _)) => return Ok(()),
            Some((JobState::Cancelled | JobState::Discarded, reason)) => {
                let reason = reason.as_deref().unwrap_or("The job was cancelled.");
                return Err(CommandError::new(format!(
                    "the server could not be deleted, and is visible again: {reason} \
                     (job {job}: `holdfast admin job list` shows more)"
                )));
            }
            Some((JobState::Running, _)) => false,
            Some((JobState::Available | JobState::Scheduled, _)) => true,
        };
        if is_queued && begun.elapsed() >= CLAIM_TIMEOUT {
            return Err(CommandError::new(format!(
                "no worker of node `{node}` has started the deletion yet: the server is hidden, \
                 and is deleted when one does (job {job}: `holdfast admin job list` shows it)"
            )));
        }
        if !has_message && begun.elapsed() >= MESSAGE_DELAY {
            has_message = true;
            let workers = workers::list(database).await?;
            let is_running = workers.iter().any(|worker| worker.node == node.as_str());
            output::problem(&if is_running {
                format!("waiting for a worker of node `{node}` to delete the server (job {job})")
            } else {
                format!("waiting for a worker of node `{node}`, but none is running (job {job})")
            });
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
