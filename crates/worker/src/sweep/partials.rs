//! Finds partial uploads whose attempt has ended.

use holdfast_db::maintenance::{BackupOnDisk, find_records};
use holdfast_domain::error_chain::chain;
use holdfast_domain::orphan::{ObjectStatus, RecordState, object_status};
use holdfast_storage::PartialUpload;

use super::{FindingKind, Sweep, SweepError, SweepFinding, SweepReport};

/// How many partial uploads one query covers.
const BATCH: usize = 500;

impl Sweep<'_> {
    pub(super) async fn sweep_partials(&self, report: &mut SweepReport) -> Result<(), SweepError> {
        let mut listing = self.disk.partials();
        while let Some(page) = listing.next_page().await? {
            self.check_stop()?;
            for batch in page.chunks(BATCH) {
                self.classify_partials(report, batch).await?;
            }
        }
        Ok(())
    }

    async fn classify_partials(
        &self,
        report: &mut SweepReport,
        partials: &[PartialUpload],
    ) -> Result<(), SweepError> {
        let seen: Vec<BackupOnDisk> = partials.iter().map(backup_of).collect();
        let records =
            find_records(self.database, self.disk.name(), self.local_node(), &seen).await?;
        for (partial, record) in partials.iter().zip(records) {
            let attempt = partial.key.archive().attempt;
            let is_old = self.is_old(partial.written_at);
            let known = &record.record;
            let kind = match object_status(attempt, known) {
                // According to the job table, this attempt has ended.
                _ if attempt <= record.ended_attempt => FindingKind::Partial,
                ObjectStatus::Needed if known.is_in_use || known.row == RecordState::Creating => {
                    continue;
                }
                // The archive is complete, so this is the rest of another upload.
                ObjectStatus::Needed | ObjectStatus::Orphaned if is_old => FindingKind::Partial,
                ObjectStatus::Needed | ObjectStatus::Orphaned => continue,
                ObjectStatus::Unknown => FindingKind::Unknown,
            };
            let is_removable = kind == FindingKind::Partial || self.removes_unknown && is_old;
            self.handle_partial(report, partial, kind, is_removable)
                .await;
        }
        Ok(())
    }

    async fn handle_partial(
        &self,
        report: &mut SweepReport,
        partial: &PartialUpload,
        kind: FindingKind,
        is_removable: bool,
    ) {
        let disk = self.disk.name();
        let mut is_removed = is_removable;
        if is_removable && !self.is_dry {
            match self.disk.remove_partial(partial).await {
                Ok(()) => {
                    tracing::info!(%disk, object = %partial.key, "removed a partial upload");
                }
                Err(error) => {
                    tracing::warn!(
                        %disk,
                        object = %partial.key,
                        error = chain(&error),
                        "a partial upload could not be removed",
                    );
                    is_removed = false;
                    report.count("failed", 1);
                }
            }
        }
        report.add(SweepFinding {
            kind,
            object: format!("{}.partial", partial.key),
            size_bytes: None,
            written_at: partial.written_at.map(Into::into),
            is_removed,
        });
    }
}

fn backup_of(partial: &PartialUpload) -> BackupOnDisk {
    let key = partial.key.archive();
    BackupOnDisk {
        server: key.server,
        backup: key.backup,
    }
}
