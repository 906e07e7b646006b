//! `holdfast admin storage sweep`: what maintenance does from time to time, now; and, if asked, more.

use chrono::Utc;
use clap::Args;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use holdfast_db::{Database, maintenance};
use holdfast_domain::{DiskName, NodeName};
use holdfast_storage::Disk;
use holdfast_worker::{Sweep, SweepFinding};

use crate::commands::admin::{change, date};
use crate::failure::Failure;
use crate::service;
use crate::settings::Settings;

/// What is swept, and how.
#[derive(Debug, Args)]
pub struct SweepOptions {
    /// Only this disk [default: every disk of the settings]
    #[arg(long, value_name = "DISK", value_parser = DiskName::parse)]
    disk: Option<DiskName>,
    /// Change nothing; only show what is found
    #[arg(long)]
    dry_run: bool,
    /// Remove what this database does not know, too. After a loss of the database that is everything:
    /// then import first
    #[arg(long)]
    unknown: bool,
}

pub(super) async fn run(
    settings: &Settings,
    database: &Database,
    options: SweepOptions,
) -> Result<Value, Failure> {
    let disks = service::open_disks(settings, database).await?;
    let wanted: Vec<&Disk> = match &options.disk {
        Some(name) => vec![disks.get(name)?],
        None => disks.iter().map(|(_, disk)| disk).collect(),
    };
    let node = NodeName::parse(&settings.worker.node).map_err(Failure::new)?;
    let mut rows = Vec::new();
    for disk in wanted {
        rows.push(sweep(settings, database, disk, &node, &options).await?);
    }
    Ok(Value::Array(rows))
}

async fn sweep(
    settings: &Settings,
    database: &Database,
    disk: &Disk,
    node: &NodeName,
    options: &SweepOptions,
) -> Result<Value, Failure> {
    let stop = CancellationToken::new();
    let sweep = Sweep {
        database,
        disk,
        node,
        age: settings.maintenance.orphan_age,
        removes_unknown: options.unknown,
        is_dry: options.dry_run,
        now: Utc::now(),
        stop: &stop,
    };
    let run = match options.dry_run {
        true => None,
        false => {
            let subject = Some(disk.name().as_str());
            change::note(database, "storage sweep", subject).await?;
            Some(maintenance::begin(database, "admin sweep", disk.name().as_str(), "admin").await?)
        }
    };
    let swept = sweep.run().await;
    let error = swept.not_swept.as_ref().map(|why| why.text());
    if let Some(run) = run {
        maintenance::end(database, run, &json!(swept.counts), error.as_deref()).await?;
    }
    if let Some(error) = error {
        return Err(Failure::new(format!(
            "disk `{}` was not swept to its end: {error} (so far: {})",
            disk.name(),
            json!(swept.counts)
        )));
    }
    let count = |name: &str| swept.counts.get(name).copied().unwrap_or_default();
    let mut row = Map::new();
    row.insert("disk".to_owned(), json!(disk.name()));
    row.insert("dry_run".to_owned(), json!(options.dry_run));
    for name in [
        "objects",
        "archives",
        "left_over",
        "partial",
        "unknown",
        "missing",
        "found_again",
        "young",
        "removed",
        "removed_bytes",
        "failed",
        "unordered",
    ] {
        row.insert(name.to_owned(), json!(count(name)));
    }
    let findings: Vec<Value> = swept.findings.iter().map(view).collect();
    row.insert("findings".to_owned(), Value::Array(findings));
    Ok(Value::Object(row))
}

fn view(finding: &SweepFinding) -> Value {
    json!({
        "kind": finding.kind.as_str(),
        "object": finding.object,
        "bytes": finding.size_bytes,
        "written_at": finding.written_at.map(date),
        "removed": finding.is_removed,
    })
}
