//! `holdfast admin storage verify`: verifies the archives of a disk, one after the other. The
//! results are recorded as those of a worker.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use holdfast_archive::Control;
use holdfast_db::{Database, backups};
use holdfast_domain::error_chain::chain;
use holdfast_domain::{Backup, BackupId, BackupState, ServerId};
use holdfast_storage::{ArchiveKey, Disk};
use holdfast_worker::{
    ArchiveCheck, ArchiveVerdict, VerifiedBackup, VerifyError, WorkerOptions, record_verdict,
};

use super::{LISTED_MAX, ProgressReporter};
use crate::commands::admin::change;
use crate::error::CommandError;
use crate::output;

/// The number of backups per database query.
const BATCH: u32 = 100;

/// The counts and findings so far.
#[derive(Default)]
struct VerifyReport {
    verified: u64,
    bytes: u64,
    bad: Vec<Value>,
    bad_count: u64,
    unread: Vec<Value>,
    unread_count: u64,
    elsewhere: u64,
}

pub(super) async fn run(
    database: &Database,
    disk: &Disk,
    server: Option<ServerId>,
    options: &WorkerOptions,
) -> Result<Value, CommandError> {
    disk.check().await?;
    change::record_start(database, "storage verify", Some(disk.name().as_str())).await?;
    let total = backups::count_completed_on(database, disk.name(), server).await?;
    let mut report = VerifyReport::default();
    let mut progress = ProgressReporter::new();
    let mut after = BackupId::NONE;
    loop {
        let batch = backups::list_completed_on(database, disk.name(), server, after, BATCH).await?;
        let Some(last) = batch.last() else { break };
        after = last.id;
        for backup in &batch {
            // The disk of another node is another folder, although it has the same name.
            let is_here = backup
                .node
                .as_ref()
                .is_none_or(|other| *other == options.node);
            if disk.is_node_local() && !is_here {
                report.elsewhere += 1;
                continue;
            }
            verify_backup(database, disk, backup, options, &mut report).await?;
            progress.report(|| {
                let (done, bad) = (report.verified + report.unread_count, report.bad_count);
                format!(
                    "read {done} of {total} archives, {} bytes; {bad} are damaged",
                    report.bytes
                )
            });
        }
    }
    report.result(disk)
}

async fn verify_backup(
    database: &Database,
    disk: &Disk,
    backup: &Backup,
    options: &WorkerOptions,
    report: &mut VerifyReport,
) -> Result<(), CommandError> {
    let BackupState::Completed(completed) = &backup.state else {
        return Ok(());
    };
    let (control, stop) = (Arc::new(Control::new()), CancellationToken::new());
    let check = ArchiveCheck {
        disk,
        key: ArchiveKey {
            server: backup.server,
            backup: backup.id,
            attempt: completed.attempt,
        },
        completed,
        control: &control,
        stop: &stop,
        read_limit_bytes_per_second: options.read_limit_bytes_per_second,
        priority: options.priority,
    };
    let verdict = match check.run().await {
        Ok(verdict) => verdict,
        Err(cause) => {
            let error = chain(&cause);
            if matches!(cause, VerifyError::Disk(_)) {
                disk.check().await?;
            }
            output::problem(&format!("backup {} could not be read: {error}", backup.id));
            report.add_unread(backup, &error);
            return Ok(());
        }
    };
    let verified = VerifiedBackup {
        server: backup.server,
        backup: backup.id,
        job: None,
        is_requested: false,
    };
    let mut transaction = database.begin().await?;
    let exists = record_verdict(&mut transaction, verified, &verdict).await?;
    transaction.commit().await?;
    if !exists {
        // The backup was deleted during the verification.
        return Ok(());
    }
    report.verified += 1;
    report.bytes = report.bytes.saturating_add(completed.size_bytes);
    if let ArchiveVerdict::Damaged { detail, .. } = &verdict {
        output::problem(&format!("backup {} is damaged: {detail}", backup.id));
        report.add_bad(backup, detail);
    }
    Ok(())
}

impl VerifyReport {
    fn add_bad(&mut self, backup: &Backup, detail: &str) {
        self.bad_count += 1;
        if self.bad.len() < LISTED_MAX {
            self.bad.push(finding(backup, detail));
        }
    }

    fn add_unread(&mut self, backup: &Backup, error: &str) {
        self.unread_count += 1;
        if self.unread.len() < LISTED_MAX {
            self.unread.push(finding(backup, error));
        }
    }

    fn result(self, disk: &Disk) -> Result<Value, CommandError> {
        let result = json!({
            "disk": disk.name(),
            "verified": self.verified,
            "bytes": self.bytes,
            "bad": self.bad_count,
            "unread": self.unread_count,
            "on_other_nodes": self.elsewhere,
            "bad_backups": self.bad,
            "unread_backups": self.unread,
        });
        if self.bad_count + self.unread_count == 0 {
            return Ok(result);
        }
        let text = format!(
            "of the archives on disk `{}`, {} are damaged and {} could not be read",
            disk.name(),
            self.bad_count,
            self.unread_count
        );
        Err(CommandError::new(text).with_result(result))
    }
}

fn finding(backup: &Backup, error: &str) -> Value {
    json!({
        "backup": backup.id,
        "server": backup.server,
        "name": backup.name,
        "error": error,
    })
}
