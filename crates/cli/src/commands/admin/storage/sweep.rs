//! `holdfast admin storage sweep`: sweeps disks now, as maintenance does regularly. With
//! `--unknown` it also removes objects that the database does not know.

use chrono::Utc;
use clap::Args;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use holdfast_db::{Database, maintenance};
use holdfast_domain::DiskName;
use holdfast_storage::Disk;
use holdfast_worker::{Sweep, SweepFinding, SweepReport};

use crate::commands::admin::{change, date};
use crate::error::CommandError;
use crate::service;
use crate::settings::Settings;

/// The counts in the result, in the order of its columns.
const COUNTS: [&str; 12] = [
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
];

/// The options of `holdfast admin storage sweep`.
#[derive(Debug, Args)]
pub struct SweepOptions {
    /// Name of the disk [default: every disk of the settings]
    #[arg(long, value_name = "DISK", value_parser = DiskName::parse)]
    disk: Option<DiskName>,
    /// Shows what is found, and changes nothing
    #[arg(long)]
    dry_run: bool,
    /// Also removes objects that are not in the database. After a loss of the database, this
    /// removes all backups: import them first
    #[arg(long)]
    unknown: bool,
}

pub(super) async fn run(
    settings: &Settings,
    database: &Database,
    options: SweepOptions,
) -> Result<Value, CommandError> {
    let disks = service::open_disks(settings, database).await?;
    let selected: Vec<&Disk> = match &options.disk {
        Some(name) => vec![disks.get(name)?],
        None => disks.iter().map(|(_, disk)| disk).collect(),
    };
    let mut rows = Vec::new();
    for disk in selected {
        rows.push(sweep(settings, database, disk, &options).await?);
    }
    Ok(Value::Array(rows))
}

async fn sweep(
    settings: &Settings,
    database: &Database,
    disk: &Disk,
    options: &SweepOptions,
) -> Result<Value, CommandError> {
    let stop = CancellationToken::new();
    let sweep = Sweep {
        database,
        disk,
        node: &settings.api.node,
        age: settings.worker.maintenance.orphan_age,
        removes_unknown: options.unknown,
        is_dry: options.dry_run,
        now: Utc::now(),
        stop: &stop,
    };
    let run = match options.dry_run {
        true => None,
        false => {
            let subject = Some(disk.name().as_str());
            change::record_start(database, "storage sweep", subject).await?;
            Some(maintenance::begin(database, "admin sweep", disk.name().as_str(), "admin").await?)
        }
    };
    let report = sweep.run().await;
    let error = report.error.as_ref().map(|reason| reason.text());
    if let Some(run) = run {
        maintenance::end(database, run, &json!(report.counts), error.as_deref()).await?;
    }
    if let Some(error) = error {
        return Err(CommandError::new(format!(
            "the sweep of disk `{}` was not completed: {error} (so far: {})",
            disk.name(),
            json!(report.counts)
        )));
    }
    Ok(result(disk, options, &report))
}

fn result(disk: &Disk, options: &SweepOptions, report: &SweepReport) -> Value {
    let count = |name: &str| report.counts.get(name).copied().unwrap_or_default();
    let mut row = Map::new();
    row.insert("disk".to_owned(), json!(disk.name()));
    row.insert("dry_run".to_owned(), json!(options.dry_run));
    for name in COUNTS {
        row.insert(name.to_owned(), json!(count(name)));
    }
    let findings: Vec<Value> = report.findings.iter().map(view).collect();
    row.insert("findings".to_owned(), Value::Array(findings));
    Value::Object(row)
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
