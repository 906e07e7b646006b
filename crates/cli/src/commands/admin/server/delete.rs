//! `holdfast admin server delete`: asks for a deletion, as the application API does, and waits for it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use holdfast_db::{Database, Error, jobs, servers, workers};
use holdfast_domain::job::{DeleteServerArgs, ServerBackupsAction};
use holdfast_domain::limit::{self, ServerBusy};
use holdfast_domain::{JobId, JobState, NodeName};

use crate::commands::admin::{change, find_server};
use crate::failure::Failure;
use crate::output;

/// How often the job is looked at.
const POLL: Duration = Duration::from_millis(200);
/// After how long the person who waits is told what for.
const TELL: Duration = Duration::from_secs(3);
/// How long a deletion is waited for that no worker has taken up.
const UNTAKEN: Duration = Duration::from_secs(60);

pub(super) async fn run(
    database: &Database,
    server: &str,
    backups: ServerBackupsAction,
) -> Result<Value, Failure> {
    let server = find_server(database, server).await?;
    let busy = |busy: ServerBusy| {
        let what = match busy {
            ServerBusy::Restoring => "restore",
            ServerBusy::BackingUp | ServerBusy::Installing | ServerBusy::Suspended => "backup",
        };
        Failure::new(format!(
            "a {what} of server `{}` is in progress: try again when it has ended (`holdfast admin job list` shows it)",
            server.id.short()
        ))
    };
    let gone = || Failure::new(format!("server `{}` has just gone", server.id.short()));

    let mut change = change::begin(database, "server delete").await?;
    let held = servers::lock_and_find(&mut change, server.id).await?;
    let (held, load) = held.ok_or_else(gone)?;
    limit::check_no_file_job(load.unfinished).map_err(busy)?;
    let args = DeleteServerArgs { backups };
    let job = servers::begin_deletion(&mut change, &held, args)
        .await
        .map_err(|error| match error {
            Error::Conflict { .. } => busy(ServerBusy::BackingUp),
            other => other.into(),
        })?;
    change.commit(Some(&server.id.to_string()), None).await?;

    wait(database, job, &held.node).await?;
    Ok(json!({
        "uuid": server.id,
        "identifier": server.id.short(),
        "deleted": true,
        "backups": backups.as_str(),
        "job": job,
    }))
}

/// Waits for the worker of the server's node.
async fn wait(database: &Database, job: JobId, node: &NodeName) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut is_told = false;
    loop {
        let found = jobs::state(database, job).await?;
        let waits = match &found {
            // A job that was pruned meanwhile had ended well: failed ones are kept longer.
            None | Some((JobState::Completed, _)) => return Ok(()),
            Some((JobState::Cancelled | JobState::Discarded, why)) => {
                let why = why.as_deref().unwrap_or("It was called off.");
                return Err(Failure::new(format!(
                    "the server could not be deleted and is back: {why} (job {job}: `holdfast admin job list` tells more)"
                )));
            }
            Some((JobState::Running, _)) => false,
            Some((JobState::Available | JobState::Scheduled, _)) => true,
        };
        if waits && begun.elapsed() >= UNTAKEN {
            return Err(Failure::new(format!(
                "no worker of node `{node}` has taken the deletion up yet: the server is hidden, and goes as soon as \
                 one does (job {job}: `holdfast admin job list` shows it)"
            )));
        }
        if !is_told && begun.elapsed() >= TELL {
            is_told = true;
            let workers = workers::list(database).await?;
            let is_there = workers.iter().any(|worker| worker.node == node.as_str());
            output::problem(&if is_there {
                format!("waiting for a worker of node `{node}` to delete the server (job {job})")
            } else {
                format!("waiting for a worker of node `{node}`, none of which runs (job {job})")
            });
        }
        tokio::time::sleep(POLL).await;
    }
}
