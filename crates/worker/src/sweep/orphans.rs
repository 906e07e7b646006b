//! Goes through the objects of a disk, and beside them through what it should hold.

use holdfast_db::maintenance::{self, BackupOnDisk, SweepRecord, find_records};
use holdfast_domain::error_chain::chain;
use holdfast_domain::orphan::{ObjectStatus, object_status};
use holdfast_storage::Object;

use super::group::Group;
use super::missing::Rows;
use super::{FindingKind, Sweep, SweepError, SweepFinding, SweepReport};

/// About how many backups the database is asked at once.
const BATCH: usize = 500;

impl Sweep<'_> {
    pub(super) async fn objects(&self, swept: &mut SweepReport) -> Result<(), SweepError> {
        // What completes from now on may not be in the listing.
        let mut rows = Rows::begin(maintenance::now(self.database).await?);
        let mut listing = self.disk.list(None);
        // The last backup of a page may go on in the next one.
        let mut open: Option<Group> = None;
        while let Some(mut page) = listing.next_page().await? {
            self.go_on()?;
            swept.count("objects", u64::try_from(page.len()).unwrap_or(u64::MAX));
            page.sort_by_key(seen);
            let mut groups: Vec<Group> = open.take().into_iter().collect();
            for object in page {
                let of = seen(&object);
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
                self.judge(swept, groups).await?;
                self.compare(swept, &mut rows, groups).await?;
            }
        }
        let last: Vec<Group> = open.into_iter().collect();
        self.judge(swept, &last).await?;
        self.compare(swept, &mut rows, &last).await?;
        self.compare_rest(swept, &mut rows).await
    }

    async fn judge(&self, swept: &mut SweepReport, groups: &[Group]) -> Result<(), SweepError> {
        let seen: Vec<BackupOnDisk> = groups.iter().map(|group| group.of).collect();
        let records = find_records(self.database, self.disk.name(), self.of_node(), &seen).await?;
        for (group, record) in groups.iter().zip(records) {
            for object in &group.objects {
                self.judge_object(swept, object, &record).await;
            }
        }
        Ok(())
    }

    async fn judge_object(&self, swept: &mut SweepReport, object: &Object, record: &SweepRecord) {
        let kind = match object_status(object.key.archive().attempt, &record.record) {
            ObjectStatus::Needed => return,
            ObjectStatus::Orphaned => FindingKind::LeftOver,
            ObjectStatus::Unknown => FindingKind::Unknown,
        };
        let is_old = self.is_old(object.written_at);
        if kind == FindingKind::LeftOver && !is_old {
            // It will be one when it has its age.
            swept.count("young", 1);
            return;
        }
        let disk = self.disk.name();
        let mut is_removed = is_old && (kind == FindingKind::LeftOver || self.removes_unknown);
        if is_removed && !self.is_dry {
            match self.disk.delete(object.key).await {
                Ok(()) => {
                    tracing::info!(%disk, object = %object.key, size_bytes = object.size_bytes, "removed an object that was left over");
                }
                Err(error) => {
                    tracing::warn!(%disk, object = %object.key, error = chain(&error), "an object that is left over could not be removed");
                    is_removed = false;
                    swept.count("failed", 1);
                }
            }
        }
        swept.find(SweepFinding {
            kind,
            object: object.key.to_string(),
            size_bytes: Some(object.size_bytes),
            written_at: object.written_at.map(Into::into),
            is_removed,
        });
    }
}

fn seen(object: &Object) -> BackupOnDisk {
    let key = object.key.archive();
    BackupOnDisk {
        server: key.server,
        backup: key.backup,
    }
}
