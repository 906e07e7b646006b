//! Compares a disk with the database, both ways: removes what is left over for certain, tells of what nobody here
//! knows, and marks backups whose archives are missing.
//!
//! What is in memory at once is a page of either side. It must never remove what a job or a row can still refer to,
//! and never take a database that knows nothing for one that has proven something: see
//! `holdfast_domain::orphan`.

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

/// How many findings are told one by one; all are counted.
const TOLD: usize = 1000;

/// A disk that is to be swept, and how.
#[derive(Clone, Copy, Debug)]
pub struct Sweep<'a> {
    /// The database that knows what should lie there.
    pub database: &'a Database,
    /// The disk.
    pub disk: &'a Disk,
    /// The node that this process is on, whose folder the disk is, if it is one.
    pub node: &'a NodeName,
    /// How old something must be to be removed.
    pub age: Duration,
    /// Whether what this database does not know goes as well.
    pub removes_unknown: bool,
    /// Whether it is only looked.
    pub is_dry: bool,
    /// What time it is.
    pub now: DateTime<Utc>,
    /// Ends it early.
    pub stop: &'a CancellationToken,
}

/// Why a sweep did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// Another process sweeps the same disk.
    #[error("another process sweeps the disk `{0}`")]
    Busy(String),
    /// It was told to stop.
    #[error("it was stopped before its end")]
    Stopped,
    /// The database can't be used.
    #[error("the database could not be used")]
    Database(#[from] holdfast_db::Error),
    /// The disk can't be used.
    #[error("the disk could not be used")]
    Disk(#[from] holdfast_storage::Error),
}

/// What a sweep has found and done, as far as it came.
#[derive(Debug, Default)]
pub struct SweepReport {
    /// What was found and done, by name.
    pub counts: BTreeMap<&'static str, u64>,
    /// The first thousand things that were found.
    pub findings: Vec<SweepFinding>,
    /// Why it ended early.
    pub not_swept: Option<SweepError>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepFinding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// Its name on the disk.
    pub object: String,
    /// Its size in bytes, where that is known.
    pub size_bytes: Option<u64>,
    /// When it was written.
    pub written_at: Option<DateTime<Utc>>,
    /// Whether it is gone now, or would be.
    pub is_removed: bool,
}

/// Kinds of things that are not as they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// An object that is needed no more.
    LeftOver,
    /// What an upload has left that has ended.
    Partial,
    /// An object, or part of one, of which this database knows nothing.
    Unknown,
    /// An archive that should be there.
    Missing,
}

impl FindingKind {
    /// Returns its name.
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
    /// Counts something.
    fn count(&mut self, name: &'static str, by: u64) {
        *self.counts.entry(name).or_default() += by;
    }

    fn find(&mut self, finding: SweepFinding) {
        self.count(finding.kind.as_str(), 1);
        if finding.is_removed {
            self.count("removed", 1);
            self.count("removed_bytes", finding.size_bytes.unwrap_or_default());
        }
        if self.findings.len() < TOLD {
            self.findings.push(finding);
        }
    }
}

impl Sweep<'_> {
    /// Sweeps the whole disk.
    pub async fn run(&self) -> SweepReport {
        let mut swept = SweepReport::default();
        swept.not_swept = match self.lock().await {
            Ok(lock) => {
                let ended = self.all(&mut swept).await;
                lock.release().await;
                ended.err()
            }
            Err(not_swept) => Some(not_swept),
        };
        swept
    }

    /// Removes only what uploads have left that have ended.
    pub async fn run_partials(&self) -> SweepReport {
        let mut swept = SweepReport::default();
        swept.not_swept = match self.lock().await {
            Ok(lock) => {
                let ended = self.partials(&mut swept).await;
                lock.release().await;
                ended.err()
            }
            Err(not_swept) => Some(not_swept),
        };
        swept
    }

    async fn all(&self, swept: &mut SweepReport) -> Result<(), SweepError> {
        self.partials(swept).await?;
        if !self.is_dry {
            let probes = self.disk.remove_probes(self.old_before()).await?;
            swept.count("removed", probes);
        }
        self.objects(swept).await
    }

    /// Makes sure that nobody else sweeps the disk.
    async fn lock(&self) -> Result<LeaderLock, SweepError> {
        let subject = subject(self.disk, self.node);
        let name = format!("sweep {subject}");
        let lock = LeaderLock::try_acquire(self.database, &name, LockTimeout::Long).await?;
        lock.ok_or(SweepError::Busy(subject))
    }

    fn go_on(&self) -> Result<(), SweepError> {
        match self.stop.is_cancelled() {
            true => Err(SweepError::Stopped),
            false => Ok(()),
        }
    }

    /// The node, where the disk is a folder of it.
    fn of_node(&self) -> Option<&NodeName> {
        self.disk.is_of_one_node().then_some(self.node)
    }

    fn old_before(&self) -> SystemTime {
        SystemTime::from(self.now)
            .checked_sub(self.age)
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Says whether something is old enough to go. Of what nobody knows the age of, it is not known.
    fn is_old(&self, written_at: Option<SystemTime>) -> bool {
        written_at.is_some_and(|at| at < self.old_before())
    }
}

/// Names a disk so that folders of the same name on several nodes are told apart.
pub(crate) fn subject(disk: &Disk, node: &NodeName) -> String {
    match disk.is_of_one_node() {
        true => format!("{} on {node}", disk.name()),
        false => disk.name().to_string(),
    }
}

impl SweepError {
    /// Tells it on one line.
    pub fn text(&self) -> String {
        chain(self)
    }
}
