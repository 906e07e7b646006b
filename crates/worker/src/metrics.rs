//! What a worker counts, for whoever watches the service. Labels are words out of short lists: kinds, states and
//! reasons, never a name that somebody chose or a text of an error.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use holdfast_db::jobs::RescuedJob;
use holdfast_domain::JobKind;
use holdfast_domain::backup::CompletedBackup;

use crate::outcome::Reason;

/// From a server of a few files to one of a terabyte, in seconds.
const DURATIONS: [f64; 13] = [
    0.25, 1.0, 2.5, 5.0, 15.0, 30.0, 60.0, 180.0, 600.0, 1800.0, 3600.0, 10_800.0, 43_200.0,
];
/// Archive bytes to source bytes.
const RATIOS: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0];

/// What the workers of a process count together.
#[derive(Clone, Debug)]
pub struct WorkerMetrics {
    ended: Family<Ended, Counter>,
    durations: Family<OfKind, Histogram, fn() -> Histogram>,
    failures: Family<Failed, Counter>,
    rescues: Family<Ended, Counter>,
    running: Family<OfKind, Gauge>,
    places: Gauge,
    source_bytes: Counter,
    archive_bytes: Counter,
    ratios: Histogram,
    notes: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failed {
    kind: &'static str,
    reason: &'static str,
}

/// How an attempt of a job ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    /// It is done.
    Completed,
    /// It failed and will be tried again.
    Retried,
    /// It failed for good.
    Discarded,
    /// It was called off.
    Cancelled,
    /// It was given back, since the worker goes.
    Released,
    /// Its lease was lost; somebody else has it.
    Lost,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Retried => "retried",
            Self::Discarded => "discarded",
            Self::Cancelled => "cancelled",
            Self::Released => "released",
            Self::Lost => "lost",
        }
    }
}

impl Default for WorkerMetrics {
    fn default() -> Self {
        Self {
            ended: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(DURATIONS)),
            failures: Family::default(),
            rescues: Family::default(),
            running: Family::default(),
            places: Gauge::default(),
            source_bytes: Counter::default(),
            archive_bytes: Counter::default(),
            ratios: Histogram::new(RATIOS),
            notes: Counter::default(),
        }
    }
}

impl WorkerMetrics {
    /// Has what workers count shown.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "jobs_ended",
            "Attempts of jobs by how they ended",
            self.ended.clone(),
        );
        registry.register(
            "job_duration_seconds",
            "How long attempts took that completed their job",
            self.durations.clone(),
        );
        registry.register(
            "job_failures",
            "Attempts of jobs that failed, by reason",
            self.failures.clone(),
        );
        registry.register(
            "lease_rescues",
            "Jobs that were taken away from workers that had stopped responding",
            self.rescues.clone(),
        );
        registry.register(
            "worker_jobs_running",
            "Jobs that this process works on now",
            self.running.clone(),
        );
        registry.register(
            "worker_concurrency",
            "Jobs that this process works on at most",
            self.places.clone(),
        );
        registry.register(
            "backup_source_bytes",
            "Bytes of server files in completed backups",
            self.source_bytes.clone(),
        );
        registry.register(
            "backup_archive_bytes",
            "Bytes of archives of completed backups",
            self.archive_bytes.clone(),
        );
        registry.register(
            "backup_ratio",
            "Size of each archive as a share of what was read for it",
            self.ratios.clone(),
        );
        registry.register(
            "backup_notes",
            "Files that completed backups do not hold as they were",
            self.notes.clone(),
        );
    }

    /// A worker begins that runs so many jobs at once.
    pub(crate) fn open(&self, places: usize) {
        self.places
            .inc_by(i64::try_from(places).unwrap_or(i64::MAX));
    }

    /// That worker goes.
    pub(crate) fn close(&self, places: usize) {
        self.places
            .dec_by(i64::try_from(places).unwrap_or(i64::MAX));
    }

    /// A job is worked on until what this returns is dropped.
    pub(crate) fn running(&self, kind: JobKind) -> Running {
        let kind = kind.as_str();
        let gauge = self.running.get_or_create_owned(&OfKind { kind });
        gauge.inc();
        Running(gauge)
    }

    pub(crate) fn ended(&self, kind: JobKind, outcome: Outcome) {
        let ended = Ended {
            kind: kind.as_str(),
            outcome: outcome.as_str(),
        };
        self.ended.get_or_create(&ended).inc();
    }

    pub(crate) fn completed(&self, kind: JobKind, took: Duration) {
        self.ended(kind, Outcome::Completed);
        let kind = kind.as_str();
        self.durations
            .get_or_create(&OfKind { kind })
            .observe(took.as_secs_f64());
    }

    pub(crate) fn failed(&self, kind: JobKind, reason: Reason) {
        let failed = Failed {
            kind: kind.as_str(),
            reason: reason.as_str(),
        };
        self.failures.get_or_create(&failed).inc();
    }

    /// A backup is stored, for which so many bytes were read.
    pub(crate) fn stored(&self, completed: &CompletedBackup, source_bytes: u64) {
        self.source_bytes.inc_by(source_bytes);
        self.archive_bytes.inc_by(completed.size_bytes);
        self.notes.inc_by(completed.notes.count);
        if source_bytes > 0 {
            #[expect(
                clippy::cast_precision_loss,
                reason = "a ratio needs no more than 52 bits"
            )]
            let ratio = completed.size_bytes as f64 / source_bytes as f64;
            self.ratios.observe(ratio);
        }
    }

    pub(crate) fn rescued(&self, job: &RescuedJob) {
        let rescued = Ended {
            kind: job.kind.as_str(),
            outcome: job.state.as_str(),
        };
        self.rescues.get_or_create(&rescued).inc();
    }
}

/// A job that is worked on.
#[derive(Debug)]
pub(crate) struct Running(Gauge);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}
