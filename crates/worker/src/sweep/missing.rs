//! Finds missing archives: reads the rows of the archives that a disk should hold in the order in
//! which the disk lists its objects, and compares the two.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use holdfast_db::maintenance::{self, BackupOnDisk, StoredArchive};
use holdfast_domain::BackupId;
use holdfast_storage::{ArchiveKey, Error, StorageKey};

use super::group::Group;
use super::{FindingKind, Sweep, SweepError, SweepFinding, SweepReport};

/// How many missing archives are logged. All of them are counted and marked.
const LOGGED_MAX: u64 = 20;

/// The position in the rows of the archives that the disk should hold.
#[derive(Debug)]
pub(super) struct ExpectedArchives {
    /// Backups that completed later than this are not compared.
    before: DateTime<Utc>,
    /// The last backup that was compared.
    after: Option<BackupOnDisk>,
    /// Whether the disk has listed its objects in order so far. If not, missing archives can't be
    /// found.
    is_ordered: bool,
}

impl ExpectedArchives {
    pub(super) fn new(before: DateTime<Utc>) -> Self {
        Self {
            before,
            after: None,
            is_ordered: true,
        }
    }
}

impl Sweep<'_> {
    /// Compares the expected archives up to the last of `groups` with the objects in `groups`.
    pub(super) async fn compare(
        &self,
        report: &mut SweepReport,
        expected: &mut ExpectedArchives,
        groups: &[Group],
    ) -> Result<(), SweepError> {
        let (Some(first), Some(last)) = (groups.first(), groups.last()) else {
            return Ok(());
        };
        if expected.after.is_some_and(|after| first.of <= after) && expected.is_ordered {
            expected.is_ordered = false;
            report.count("unordered", 1);
            tracing::warn!(
                disk = %self.disk.name(),
                "the disk does not list its objects in order, so missing archives can't be found",
            );
        }
        if !expected.is_ordered {
            return Ok(());
        }
        self.walk(report, expected, groups, Some(last.of)).await
    }

    /// Handles the expected archives after the last backup on the disk: all of them are missing.
    pub(super) async fn compare_rest(
        &self,
        report: &mut SweepReport,
        expected: &mut ExpectedArchives,
    ) -> Result<(), SweepError> {
        match expected.is_ordered {
            true => self.walk(report, expected, &[], None).await,
            false => Ok(()),
        }
    }

    async fn walk(
        &self,
        report: &mut SweepReport,
        expected: &mut ExpectedArchives,
        groups: &[Group],
        up_to: Option<BackupOnDisk>,
    ) -> Result<(), SweepError> {
        let groups_by_backup: BTreeMap<BackupOnDisk, &Group> =
            groups.iter().map(|group| (group.of, group)).collect();
        loop {
            self.check_stop()?;
            let (disk, node) = (self.disk.name(), self.local_node());
            let (after, before) = (expected.after, expected.before);
            let archives =
                maintenance::list_archives(self.database, disk, node, after, up_to, before).await?;
            let Some(last) = archives.last() else {
                expected.after = up_to.or(expected.after);
                return Ok(());
            };
            expected.after = Some(last.of);
            let count = u64::try_from(archives.len()).unwrap_or(u64::MAX);
            report.count("archives", count);
            let (mut missing, mut found) = (Vec::new(), Vec::new());
            for archived in &archives {
                let group = groups_by_backup.get(&archived.of);
                let is_present = group.is_some_and(|group| group.has_archive_of(archived.attempt));
                if is_present && archived.is_missing {
                    found.push(archived.of.backup);
                }
                if !is_present && self.is_missing(archived).await? {
                    self.report_missing(report, archived);
                    missing.push(archived.of.backup);
                }
            }
            self.update_missing_marks(report, &missing, &found).await?;
        }
    }

    /// Asks the disk for the archive itself, since the listing may be older than the row.
    async fn is_missing(&self, archived: &StoredArchive) -> Result<bool, SweepError> {
        match self.disk.size(archive_of(archived)).await {
            Ok(_) => Ok(false),
            Err(Error::NotFound { .. }) => Ok(true),
            // It exists. A verification will report the damage.
            Err(Error::Damaged { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn report_missing(&self, report: &mut SweepReport, archived: &StoredArchive) {
        let logged = report.counts.get(FindingKind::Missing.as_str()).copied();
        if logged.unwrap_or_default() < LOGGED_MAX {
            tracing::error!(
                disk = %self.disk.name(),
                server = %archived.of.server,
                backup = %archived.of.backup,
                "the archive of a completed backup is missing",
            );
        }
        report.add(SweepFinding {
            kind: FindingKind::Missing,
            object: archive_of(archived).to_string(),
            size_bytes: None,
            written_at: None,
            is_removed: false,
        });
    }

    async fn update_missing_marks(
        &self,
        report: &mut SweepReport,
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
            report.count(
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
