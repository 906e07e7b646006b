//! Compares a disk with the database in both directions: removes leftover objects, reports unknown
//! ones, and marks backups whose archive is missing.
//!
//! Holds at most one page of each side in memory. A sweep must never remove an object that a job or
//! a row may still refer to. A missing row alone does not prove that an object is a leftover, since
//! the database may be empty or restored from an older copy: see `holdfast_domain::orphan`.

mod group;
mod missing;
mod orphans;
mod partials;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use holdfast_db::{Database, LeaderLock, LockTimeout};
use holdfast_domain::NodeName;
use holdfast_domain::error_chain::chain;
use holdfast_storage::Disk;

/// How many findings a report lists. All of them are counted.
const FINDINGS_MAX: usize = 1000;

/// The disk to sweep, and the options of the sweep.
#[derive(Clone, Copy, Debug)]
pub struct Sweep<'a> {
    /// The database to compare with.
    pub database: &'a Database,
    /// The disk.
    pub disk: &'a Disk,
    /// The node of this process. A local disk is a folder of this node.
    pub node: &'a NodeName,
    /// How old an object must be to be removed.
    pub age: Duration,
    /// Whether to remove objects that the database does not know.
    pub removes_unknown: bool,
    /// Whether to change nothing and only report.
    pub is_dry: bool,
    /// The current time.
    pub now: DateTime<Utc>,
    /// Stops the sweep.
    pub stop: &'a CancellationToken,
}

/// Why a sweep did not finish.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// Another process sweeps the same disk.
    #[error("another process is sweeping disk `{0}`")]
    Busy(String),
    /// The sweep was stopped.
    #[error("it was stopped before it completed")]
    Stopped,
    /// The database failed.
    #[error("the database could not be used")]
    Database(#[from] holdfast_db::Error),
    /// The disk failed.
    #[error("the disk could not be used")]
    Disk(#[from] holdfast_storage::Error),
}

/// What a sweep found and did, up to its end or its error.
#[derive(Debug, Default)]
pub struct SweepReport {
    /// Counters by name, such as `removed`.
    pub counts: BTreeMap<&'static str, u64>,
    /// The first thousand findings.
    pub findings: Vec<SweepFinding>,
    /// The error that ended the sweep early.
    pub error: Option<SweepError>,
}

/// A difference between the disk and the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepFinding {
    /// The kind of difference.
    pub kind: FindingKind,
    /// The object's key on the disk.
    pub object: String,
    /// The object's size in bytes, if known.
    pub size_bytes: Option<u64>,
    /// When the object was written, if known.
    pub written_at: Option<DateTime<Utc>>,
    /// Whether the object was removed, or would be without `is_dry`.
    pub is_removed: bool,
}

/// The kinds of differences between a disk and the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// An object that is no longer needed.
    LeftOver,
    /// The rest of an upload that has ended.
    Partial,
    /// An object or partial upload that the database does not know.
    Unknown,
    /// An archive that the database expects and the disk does not have.
    Missing,
}

impl FindingKind {
    /// Returns the kind's name in counters and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LeftOver => "left_over",
            Self::Partial => "partial",
            Self::Unknown => "unknown",
            Self::Missing => "missing",
        }
    }
}

impl SweepReport {
    /// Adds to a counter.
    fn count(&mut self, name: &'static str, by: u64) {
        *self.counts.entry(name).or_default() += by;
    }

    fn add(&mut self, finding: SweepFinding) {
        self.count(finding.kind.as_str(), 1);
        if finding.is_removed {
            self.count("removed", 1);
            self.count("removed_bytes", finding.size_bytes.unwrap_or_default());
        }
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }
}

impl Sweep<'_> {
    /// Sweeps the whole disk.
    pub async fn run(&self) -> SweepReport {
        let mut report = SweepReport::default();
        report.error = match self.lock().await {
            Ok(lock) => {
                let ended = self.sweep_all(&mut report).await;
                lock.release().await;
                ended.err()
            }
            Err(error) => Some(error),
        };
        report
    }

    /// Removes only the partial uploads.
    pub async fn run_partials(&self) -> SweepReport {
        let mut report = SweepReport::default();
        report.error = match self.lock().await {
            Ok(lock) => {
                let ended = self.sweep_partials(&mut report).await;
                lock.release().await;
                ended.err()
            }
            Err(error) => Some(error),
        };
        report
    }

    async fn sweep_all(&self, report: &mut SweepReport) -> Result<(), SweepError> {
        self.sweep_partials(report).await?;
        if !self.is_dry {
            let probes = self.disk.remove_probes(self.age_cutoff()).await?;
            report.count("removed", probes);
        }
        self.sweep_objects(report).await
    }

    /// Takes the lock that lets only one process sweep the disk.
    async fn lock(&self) -> Result<LeaderLock, SweepError> {
        let subject = subject(self.disk, self.node);
        let name = format!("sweep {subject}");
        let lock = LeaderLock::try_acquire(self.database, &name, LockTimeout::Long).await?;
        lock.ok_or(SweepError::Busy(subject))
    }

    fn check_stop(&self) -> Result<(), SweepError> {
        match self.stop.is_cancelled() {
            true => Err(SweepError::Stopped),
            false => Ok(()),
        }
    }

    /// Returns the node if the disk is a local folder.
    fn local_node(&self) -> Option<&NodeName> {
        self.disk.is_node_local().then_some(self.node)
    }

    fn age_cutoff(&self) -> SystemTime {
        SystemTime::from(self.now)
            .checked_sub(self.age)
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Returns whether an object is old enough to be removed. Returns `false` if its age is
    /// unknown.
    fn is_old(&self, written_at: Option<SystemTime>) -> bool {
        written_at.is_some_and(|at| at < self.age_cutoff())
    }
}

/// Returns the disk's name, with the node if the disk is a local folder.
pub(crate) fn subject(disk: &Disk, node: &NodeName) -> String {
    match disk.is_node_local() {
        true => format!("{} on {node}", disk.name()),
        false => disk.name().to_string(),
    }
}

impl SweepError {
    /// Returns the error and its sources on one line.
    pub fn text(&self) -> String {
        chain(self)
    }
}
