//! `holdfast admin retention`: shows which backups would go and why, or has them go now.

use std::collections::BTreeMap;

use chrono::Utc;
use clap::Args;
use serde_json::{Value, json};

use holdfast_db::{Database, maintenance};
use holdfast_domain::retention::{CandidateState, RetentionVerdict};
use holdfast_worker::{RetentionDecision, RetentionRun};

use super::{change, date, find_server};
use crate::failure::Failure;
use crate::service;
use crate::settings::Settings;

/// Which backups are decided about.
#[derive(Debug, Args)]
pub struct RetentionOptions {
    /// Only show what would go, and why
    #[arg(long)]
    dry_run: bool,
    /// Only this server's: its UUID, or the first eight characters of it
    #[arg(long, value_name = "SERVER")]
    server: Option<String>,
    /// Show what stays as well, and why
    #[arg(long)]
    kept: bool,
}

pub(super) async fn run(
    settings: &Settings,
    database: &Database,
    options: RetentionOptions,
) -> Result<Value, Failure> {
    let server = match &options.server {
        Some(text) => Some(find_server(database, text).await?.id),
        None => None,
    };
    let keeping = keeping(settings)?;
    let (mut rows, mut counts) = (Vec::new(), BTreeMap::<&str, u64>::new());
    let told = |decided: RetentionDecision| {
        let action = match decided.verdict {
            RetentionVerdict::Keep(_) => "keep",
            RetentionVerdict::Remove(_) => "remove",
        };
        *counts.entry(action).or_default() += 1;
        if options.kept || action == "remove" {
            rows.push(view(&decided, action));
        }
    };
    let dry = options.dry_run;
    if !dry {
        let subject = server.map(|server| server.to_string());
        change::note(database, "retention", subject.as_deref()).await?;
    }
    holdfast_worker::retain(database, &keeping, server, dry, Utc::now(), told).await?;
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

fn keeping(settings: &Settings) -> Result<RetentionRun, Failure> {
    Ok(RetentionRun {
        policy: settings.retention,
        backups_per_server: settings.limits.backups_per_server,
        shared_disks: service::shared_disks(settings)?.into_iter().collect(),
    })
}

fn view(decided: &RetentionDecision, action: &str) -> Value {
    let backup = &decided.backup;
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
        "reason": decided.verdict.to_string(),
        "job": decided.job,
    })
}
