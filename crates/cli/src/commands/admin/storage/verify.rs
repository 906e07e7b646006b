//! `holdfast admin storage verify`: reads every archive of a disk back that the database knows, one after the other.
//! What it finds is written down as if a worker had found it.

use std::num::NonZeroU64;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use holdfast_archive::Control;
use holdfast_db::{Database, backups};
use holdfast_domain::error_chain::chain;
use holdfast_domain::{Backup, BackupId, BackupState, NodeName, ServerId};
use holdfast_storage::{ArchiveKey, Disk};
use holdfast_worker::{ArchiveCheck, ArchiveVerdict, VerifiedBackup, VerifyError, record_verdict};

use super::{LISTED, Teller};
use crate::commands::admin::change;
use crate::failure::Failure;
use crate::output;

/// How many backups are looked up at once.
const BATCH: u32 = 100;

/// What was found so far.
#[derive(Default)]
struct Tally {
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
    node: &NodeName,
    server: Option<ServerId>,
    read_limit_bytes_per_second: Option<NonZeroU64>,
) -> Result<Value, Failure> {
    disk.check().await?;
    change::note(database, "storage verify", Some(disk.name().as_str())).await?;
    let total = backups::count_completed_on(database, disk.name(), server).await?;
    let mut tally = Tally::default();
    let mut teller = Teller::begin();
    let mut after = BackupId::NONE;
    loop {
        let some = backups::list_completed_on(database, disk.name(), server, after, BATCH).await?;
        let Some(last) = some.last() else { break };
        after = last.id;
        for backup in &some {
            // What another node keeps in a folder of this name is not here, and not missing either.
            let is_here = backup.node.as_ref().is_none_or(|of| of == node);
            if disk.is_of_one_node() && !is_here {
                tally.elsewhere += 1;
                continue;
            }
            examine(
                database,
                disk,
                backup,
                read_limit_bytes_per_second,
                &mut tally,
            )
            .await?;
            teller.tell(|| {
                let (done, bad) = (tally.verified + tally.unread_count, tally.bad_count);
                format!(
                    "read {done} of {total} archives, {} bytes; {bad} are bad",
                    tally.bytes
                )
            });
        }
    }
    tally.result(disk)
}

async fn examine(
    database: &Database,
    disk: &Disk,
    backup: &Backup,
    read_limit_bytes_per_second: Option<NonZeroU64>,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let BackupState::Completed(completed) = &backup.state else {
        return Ok(());
    };
    let (control, stop) = (Arc::new(Control::new()), CancellationToken::new());
    let examination = ArchiveCheck {
        disk,
        key: ArchiveKey {
            server: backup.server,
            backup: backup.id,
            attempt: completed.attempt,
        },
        completed,
        control: &control,
        stop: &stop,
        read_limit_bytes_per_second,
    };
    let found = |what: &str| json!({ "backup": backup.id, "server": backup.server, "name": backup.name, "error": what });
    let verdict = match examination.run().await {
        Ok(verdict) => verdict,
        Err(no_verdict) => {
            let why = chain(&no_verdict);
            if matches!(no_verdict, VerifyError::Disk(_)) {
                disk.check().await?;
            }
            output::problem(&format!("backup {} could not be read: {why}", backup.id));
            tally.unread_count += 1;
            if tally.unread.len() < LISTED {
                tally.unread.push(found(&why));
            }
            return Ok(());
        }
    };
    let verified = VerifiedBackup {
        server: backup.server,
        backup: backup.id,
        job: None,
        is_asked_for: false,
    };
    let mut transaction = database.begin().await?;
    let is_there = record_verdict(&mut transaction, verified, &verdict).await?;
    transaction.commit().await?;
    if !is_there {
        // Deleted while it was read.
        return Ok(());
    }
    tally.verified += 1;
    tally.bytes += completed.size_bytes;
    if let ArchiveVerdict::Bad { detail, .. } = &verdict {
        output::problem(&format!("backup {} is bad: {detail}", backup.id));
        tally.bad_count += 1;
        if tally.bad.len() < LISTED {
            tally.bad.push(found(detail));
        }
    }
    Ok(())
}

impl Tally {
    fn result(self, disk: &Disk) -> Result<Value, Failure> {
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
            "of the archives on disk `{}`, {} are bad and {} could not be read",
            disk.name(),
            self.bad_count,
            self.unread_count
        );
        Err(Failure::new(text).with_result(result))
    }
}
