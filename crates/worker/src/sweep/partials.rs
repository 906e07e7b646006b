//! What uploads that have ended have left behind.

use holdfast_db::maintenance::{BackupOnDisk, find_records};
use holdfast_domain::error_chain::chain;
use holdfast_domain::orphan::{ObjectStatus, RecordState, object_status};
use holdfast_storage::PartialUpload;

use super::{FindingKind, Sweep, SweepError, SweepFinding, SweepReport};

/// About how many the database is asked at once.
const BATCH: usize = 500;

impl Sweep<'_> {
    pub(super) async fn partials(&self, swept: &mut SweepReport) -> Result<(), SweepError> {
        let mut listing = self.disk.partials();
        while let Some(page) = listing.next_page().await? {
            self.go_on()?;
            for batch in page.chunks(BATCH) {
                self.judge_partials(swept, batch).await?;
            }
        }
        Ok(())
    }

    async fn judge_partials(
        &self,
        swept: &mut SweepReport,
        partials: &[PartialUpload],
    ) -> Result<(), SweepError> {
        let seen: Vec<BackupOnDisk> = partials.iter().map(seen).collect();
        let records = find_records(self.database, self.disk.name(), self.of_node(), &seen).await?;
        for (partial, record) in partials.iter().zip(records) {
            let attempt = partial.key.archive().attempt;
            let is_old = self.is_old(partial.written_at);
            let known = &record.record;
            let kind = match object_status(attempt, known) {
                // The job table says that this attempt has ended, so that nobody writes to it any more.
                _ if attempt <= record.ended_attempt => FindingKind::Partial,
                ObjectStatus::Needed if known.is_in_use || known.row == RecordState::Creating => {
                    continue;
                }
                // The archive is whole; this is not it.
                ObjectStatus::Needed | ObjectStatus::Orphaned if is_old => FindingKind::Partial,
                ObjectStatus::Needed | ObjectStatus::Orphaned => continue,
                ObjectStatus::Unknown => FindingKind::Unknown,
            };
            let goes = kind == FindingKind::Partial || self.removes_unknown && is_old;
            self.take_partial(swept, partial, kind, goes).await;
        }
        Ok(())
    }

    async fn take_partial(
        &self,
        swept: &mut SweepReport,
        partial: &PartialUpload,
        kind: FindingKind,
        goes: bool,
    ) {
        let disk = self.disk.name();
        let mut is_removed = goes;
        if goes && !self.is_dry {
            match self.disk.remove_partial(partial).await {
                Ok(()) => {
                    tracing::info!(%disk, object = %partial.key, "removed a partial upload");
                }
                Err(error) => {
                    tracing::warn!(%disk, object = %partial.key, error = chain(&error), "a partial upload could not be removed");
                    is_removed = false;
                    swept.count("failed", 1);
                }
            }
        }
        swept.find(SweepFinding {
            kind,
            object: format!("{}.partial", partial.key),
            size_bytes: None,
            written_at: partial.written_at.map(Into::into),
            is_removed,
        });
    }
}

fn seen(partial: &PartialUpload) -> BackupOnDisk {
    let key = partial.key.archive();
    BackupOnDisk {
        server: key.server,
        backup: key.backup,
    }
}
