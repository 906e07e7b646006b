//! `holdfast admin retention`: removes the backups that the retention rules do not keep, or with
//! `--dry-run` only shows them.

use std::collections::BTreeMap;

use chrono::Utc;
use clap::Args;
use serde_json::{Value, json};

use holdfast_db::{Database, maintenance};
use holdfast_domain::retention::{CandidateState, RetentionVerdict};
use holdfast_worker::{RetentionDecision, RetentionRun};

use super::{change, date, find_server};
use crate::error::CommandError;
use crate::settings::Settings;

/// The options of `holdfast admin retention`.
#[derive(Debug, Args)]
pub struct RetentionOptions {
    /// Shows the backups that would be removed, with the reason, and removes nothing
    #[arg(long)]
    dry_run: bool,
    /// UUID of a server, or its first eight characters, to process only that server
    #[arg(long, value_name = "SERVER")]
    server: Option<String>,
    /// Also shows the backups that are kept, with the reason
    #[arg(long)]
    kept: bool,
}

pub(super) async fn run(
    settings: &Settings,
    database: &Database,
    options: RetentionOptions,
) -> Result<Value, CommandError> {
    let server = match &options.server {
        Some(text) => Some(find_server(database, text).await?.id),
        None => None,
    };
    let run = retention_run(settings);
    let (mut rows, mut counts) = (Vec::new(), BTreeMap::<&str, u64>::new());
    let record = |decision: RetentionDecision| {
        let action = match decision.verdict {
            RetentionVerdict::Keep(_) => "keep",
            RetentionVerdict::Remove(_) => "remove",
        };
        *counts.entry(action).or_default() += 1;
        if options.kept || action == "remove" {
            rows.push(view(&decision, action));
        }
    };
    let dry = options.dry_run;
    if !dry {
        let subject = server.map(|server| server.to_string());
        change::record_start(database, "retention", subject.as_deref()).await?;
    }
    holdfast_worker::apply_retention(database, &run, server, dry, Utc::now(), record).await?;
    if !dry {
        let counts = json!({
            "removed": counts.get("remove").unwrap_or(&0),
            "kept": counts.get("keep").unwrap_or(&0),
        });
        let subject = server.map_or_else(String::new, |server| format!("server {server}"));
        maintenance::record_run(database, "retention", &subject, "admin", &counts).await?;
    }
    Ok(Value::Array(rows))
}

fn retention_run(settings: &Settings) -> RetentionRun {
    let maintenance = &settings.worker.maintenance;
    RetentionRun {
        policy: maintenance.retention_policy,
        backups_per_server: maintenance.backups_per_server,
        shared_disks: settings.storage.shared_disks().into_iter().collect(),
    }
}

fn view(decision: &RetentionDecision, action: &str) -> Value {
    let backup = &decision.backup;
    json!({
        "server": backup.server,
        "backup": backup.candidate.id,
        "name": backup.name,
        "created_at": date(backup.candidate.created_at),
        "state": match backup.candidate.state {
            CandidateState::Creating => "creating",
            CandidateState::Completed { .. } => "completed",
            CandidateState::Failed => "failed",
        },
        "bytes": backup.size_bytes,
        "disk": backup.disk,
        "is_locked": backup.candidate.is_locked,
        "action": action,
        "reason": decision.verdict.to_string(),
        "job": decision.job,
    })
}
