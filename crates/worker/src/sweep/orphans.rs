//! Finds orphaned objects: reads all objects of a disk and asks the database which are still
//! needed.

use holdfast_db::maintenance::{self, BackupOnDisk, SweepRecord, find_records};
use holdfast_domain::error_chain::chain;
use holdfast_domain::orphan::{ObjectStatus, object_status};
use holdfast_storage::Object;

use super::group::Group;
use super::missing::ExpectedArchives;
use super::{FindingKind, Sweep, SweepError, SweepFinding, SweepReport};

/// About how many backups one query covers.
const BATCH: usize = 500;

impl Sweep<'_> {
    pub(super) async fn sweep_objects(&self, report: &mut SweepReport) -> Result<(), SweepError> {
        // The listing may miss archives that complete after this moment.
        let mut expected = ExpectedArchives::new(maintenance::now(self.database).await?);
        let mut listing = self.disk.list(None);
        // The objects of a page's last backup may continue on the next page.
        let mut open: Option<Group> = None;
        while let Some(mut page) = listing.next_page().await? {
            self.check_stop()?;
            report.count("objects", u64::try_from(page.len()).unwrap_or(u64::MAX));
            page.sort_by_key(backup_of);
            let mut groups: Vec<Group> = open.take().into_iter().collect();
            for object in page {
                let of = backup_of(&object);
                match groups.last_mut() {
                    Some(group) if group.of == of => group.objects.push(object),
                    _ => groups.push(Group {
                        of,
                        objects: vec![object],
                    }),
                }
            }
            open = groups.pop();
            for groups in groups.chunks(BATCH) {
                self.classify(report, groups).await?;
                self.compare(report, &mut expected, groups).await?;
            }
        }
        let last: Vec<Group> = open.into_iter().collect();
        self.classify(report, &last).await?;
        self.compare(report, &mut expected, &last).await?;
        self.compare_rest(report, &mut expected).await
    }

    async fn classify(&self, report: &mut SweepReport, groups: &[Group]) -> Result<(), SweepError> {
        let seen: Vec<BackupOnDisk> = groups.iter().map(|group| group.of).collect();
        let records =
            find_records(self.database, self.disk.name(), self.local_node(), &seen).await?;
        for (group, record) in groups.iter().zip(records) {
            for object in &group.objects {
                self.classify_object(report, object, &record).await;
            }
        }
        Ok(())
    }

    async fn classify_object(
        &self,
        report: &mut SweepReport,
        object: &Object,
        record: &SweepRecord,
    ) {
        let kind = match object_status(object.key.archive().attempt, &record.record) {
            ObjectStatus::Needed => return,
            ObjectStatus::Orphaned => FindingKind::LeftOver,
            ObjectStatus::Unknown => FindingKind::Unknown,
        };
        let is_old = self.is_old(object.written_at);
        if kind == FindingKind::LeftOver && !is_old {
            // A later sweep will remove it.
            report.count("young", 1);
            return;
        }
        let disk = self.disk.name();
        let mut is_removed = is_old && (kind == FindingKind::LeftOver || self.removes_unknown);
        if is_removed && !self.is_dry {
            match self.disk.delete(object.key).await {
                Ok(()) => {
                    tracing::info!(
                        %disk,
                        object = %object.key,
                        size_bytes = object.size_bytes,
                        "removed a leftover object",
                    );
                }
                Err(error) => {
                    tracing::warn!(
                        %disk,
                        object = %object.key,
                        error = chain(&error),
                        "a leftover object could not be removed",
                    );
                    is_removed = false;
                    report.count("failed", 1);
                }
            }
        }
        report.add(SweepFinding {
            kind,
            object: object.key.to_string(),
            size_bytes: Some(object.size_bytes),
            written_at: object.written_at.map(Into::into),
            is_removed,
        });
    }
}

fn backup_of(object: &Object) -> BackupOnDisk {
    let key = object.key.archive();
    BackupOnDisk {
        server: key.server,
        backup: key.backup,
    }
}
