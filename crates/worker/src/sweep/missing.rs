//! Which archives a disk should hold, walked in the order in which it lists them: what is passed without having been
//! seen is missing.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use holdfast_db::maintenance::{self, BackupOnDisk, StoredArchive};
use holdfast_domain::BackupId;
use holdfast_storage::{ArchiveKey, Error, StorageKey};

use super::group::Group;
use super::{FindingKind, Sweep, SweepError, SweepFinding, SweepReport};

/// How many missing archives are logged one by one; all are counted and marked.
const LOGGED: u64 = 20;

/// How far the rows are walked.
#[derive(Debug)]
pub(super) struct Rows {
    /// What completes later is not asked for.
    before: DateTime<Utc>,
    /// The last one that was compared.
    after: Option<BackupOnDisk>,
    /// Whether the disk lists in the order of names so far. If not, nothing can be said to be missing.
    is_ordered: bool,
}

impl Rows {
    pub(super) fn begin(before: DateTime<Utc>) -> Self {
        Self {
            before,
            after: None,
            is_ordered: true,
        }
    }
}

impl Sweep<'_> {
    /// Compares what should lie up to the last of some backups with them.
    pub(super) async fn compare(
        &self,
        swept: &mut SweepReport,
        rows: &mut Rows,
        groups: &[Group],
    ) -> Result<(), SweepError> {
        let (Some(first), Some(last)) = (groups.first(), groups.last()) else {
            return Ok(());
        };
        if rows.after.is_some_and(|after| first.of <= after) && rows.is_ordered {
            rows.is_ordered = false;
            swept.count("unordered", 1);
            tracing::warn!(disk = %self.disk.name(), "the disk does not list its objects in order; whether archives are missing can't be said");
        }
        if !rows.is_ordered {
            return Ok(());
        }
        self.walk(swept, rows, groups, Some(last.of)).await
    }

    /// Compares what should lie behind the last backup that was seen: nothing of it does.
    pub(super) async fn compare_rest(
        &self,
        swept: &mut SweepReport,
        rows: &mut Rows,
    ) -> Result<(), SweepError> {
        match rows.is_ordered {
            true => self.walk(swept, rows, &[], None).await,
            false => Ok(()),
        }
    }

    async fn walk(
        &self,
        swept: &mut SweepReport,
        rows: &mut Rows,
        groups: &[Group],
        up_to: Option<BackupOnDisk>,
    ) -> Result<(), SweepError> {
        let there: BTreeMap<BackupOnDisk, &Group> =
            groups.iter().map(|group| (group.of, group)).collect();
        loop {
            self.go_on()?;
            let (disk, node) = (self.disk.name(), self.of_node());
            let wanted = maintenance::list_archives(
                self.database,
                disk,
                node,
                rows.after,
                up_to,
                rows.before,
            );
            let wanted = wanted.await?;
            let Some(last) = wanted.last() else {
                rows.after = up_to.or(rows.after);
                return Ok(());
            };
            rows.after = Some(last.of);
            swept.count("archives", u64::try_from(wanted.len()).unwrap_or(u64::MAX));
            let (mut missing, mut found) = (Vec::new(), Vec::new());
            for archived in &wanted {
                let group = there.get(&archived.of);
                let is_there = group.is_some_and(|group| group.has_archive_of(archived.attempt));
                if is_there && archived.is_missing {
                    found.push(archived.of.backup);
                }
                if !is_there && self.is_missing(archived).await? {
                    self.tell_missing(swept, archived);
                    missing.push(archived.of.backup);
                }
            }
            self.mark(swept, &missing, &found).await?;
        }
    }

    /// Asks for the archive itself: a listing may be older than the row.
    async fn is_missing(&self, archived: &StoredArchive) -> Result<bool, SweepError> {
        match self.disk.size(archive_of(archived)).await {
            Ok(_) => Ok(false),
            Err(Error::NotFound { .. }) => Ok(true),
            // It is there, whatever is wrong with it; a verification says what.
            Err(Error::Damaged { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn tell_missing(&self, swept: &mut SweepReport, archived: &StoredArchive) {
        let told = swept.counts.get(FindingKind::Missing.as_str()).copied();
        if told.unwrap_or_default() < LOGGED {
            tracing::error!(disk = %self.disk.name(), server = %archived.of.server, backup = %archived.of.backup, "the archive of a completed backup is missing");
        }
        swept.find(SweepFinding {
            kind: FindingKind::Missing,
            object: archive_of(archived).to_string(),
            size_bytes: None,
            written_at: None,
            is_removed: false,
        });
    }

    async fn mark(
        &self,
        swept: &mut SweepReport,
        missing: &[BackupId],
        found: &[BackupId],
    ) -> Result<(), SweepError> {
        if self.is_dry {
            return Ok(());
        }
        if !missing.is_empty() {
            maintenance::mark_missing(self.database, missing).await?;
        }
        if !found.is_empty() {
            swept.count(
                "found_again",
                u64::try_from(found.len()).unwrap_or(u64::MAX),
            );
            maintenance::mark_found(self.database, found).await?;
        }
        Ok(())
    }
}

fn archive_of(archived: &StoredArchive) -> StorageKey {
    StorageKey::Archive(ArchiveKey {
        server: archived.of.server,
        backup: archived.of.backup,
        attempt: archived.attempt,
    })
}
