//! The metrics of workers. Label values come from short fixed lists (kinds, states, reasons). They
//! must never be names that users chose, or error texts.

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

use crate::backup_mode::BackupMode;
use crate::outcome::FailureReason;

/// Buckets in seconds: from a server of a few files to one of a terabyte.
const DURATION_BUCKETS: [f64; 13] = [
    0.25, 1.0, 2.5, 5.0, 15.0, 30.0, 60.0, 180.0, 600.0, 1800.0, 3600.0, 10_800.0, 43_200.0,
];
/// Buckets of the ratio of archive bytes to source bytes.
const RATIO_BUCKETS: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0];

/// The metrics of all workers in a process.
#[derive(Clone, Debug)]
pub struct WorkerMetrics {
    ended: Family<OutcomeLabels, Counter>,
    durations: Family<KindLabel, Histogram, fn() -> Histogram>,
    failures: Family<ReasonLabels, Counter>,
    rescues: Family<OutcomeLabels, Counter>,
    running: Family<KindLabel, Gauge>,
    concurrency: Gauge,
    source_bytes: Counter,
    archive_bytes: Counter,
    ratios: Histogram,
    notes: Counter,
    completed: Family<ModeLabels, Counter>,
    bytes: Family<ByteKindLabel, Counter>,
    panel_callbacks: Family<CallbackLabels, Counter>,
    panel_failures: Family<FailureLabel, Counter>,
    panel_orphans: Counter,
    panel_lists: Family<ListLabel, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    kind: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModeLabels {
    mode: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByteKindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallbackLabels {
    kind: &'static str,
    answer: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListLabel {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabel {
    reason: &'static str,
}

/// How an attempt of a job ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AttemptOutcome {
    /// It succeeded.
    Completed,
    /// It failed and will be retried.
    Retried,
    /// It failed permanently.
    Discarded,
    /// It was cancelled.
    Cancelled,
    /// It was released because the worker shuts down.
    Released,
    /// Its lease was lost; another worker may have claimed the job.
    Lost,
}

impl AttemptOutcome {
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
            durations: Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS)),
            failures: Family::default(),
            rescues: Family::default(),
            running: Family::default(),
            concurrency: Gauge::default(),
            source_bytes: Counter::default(),
            archive_bytes: Counter::default(),
            ratios: Histogram::new(RATIO_BUCKETS),
            notes: Counter::default(),
            completed: Family::default(),
            bytes: Family::default(),
            panel_callbacks: Family::default(),
            panel_failures: Family::default(),
            panel_orphans: Counter::default(),
            panel_lists: Family::default(),
        }
    }
}

impl WorkerMetrics {
    /// Adds the metrics to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "jobs_ended",
            "Attempts of jobs, by outcome",
            self.ended.clone(),
        );
        registry.register(
            "job_duration_seconds",
            "Duration of the attempts that completed their job",
            self.durations.clone(),
        );
        registry.register(
            "job_failures",
            "Failed attempts of jobs, by reason",
            self.failures.clone(),
        );
        registry.register(
            "lease_rescues",
            "Jobs whose worker stopped responding and let the lease expire",
            self.rescues.clone(),
        );
        registry.register(
            "worker_jobs_running",
            "Jobs that run in this process",
            self.running.clone(),
        );
        registry.register(
            "worker_concurrency",
            "Maximum number of concurrent jobs of this process",
            self.concurrency.clone(),
        );
        registry.register(
            "backup_source_bytes",
            "Bytes of the server files in completed backups",
            self.source_bytes.clone(),
        );
        registry.register(
            "backup_archive_bytes",
            "Bytes of the archives of completed backups",
            self.archive_bytes.clone(),
        );
        registry.register(
            "backup_ratio",
            "Size of each archive divided by the size of its files",
            self.ratios.clone(),
        );
        registry.register(
            "backup_notes",
            "Files that completed backups contain only partly or not at all",
            self.notes.clone(),
        );
        registry.register(
            "backups_completed",
            "Completed backups, by what they read and why",
            self.completed.clone(),
        );
        registry.register(
            "backup_bytes",
            "Bytes of completed backups: of server files read, of archives reused and packed, and \
             by which disks grew",
            self.bytes.clone(),
        );
        registry.register(
            "panel_callbacks",
            "Ends of backups and restores that the panel was told of, by its answer",
            self.panel_callbacks.clone(),
        );
        registry.register(
            "panel_failures",
            "Requests to the panel that failed, by reason",
            self.panel_failures.clone(),
        );
        registry.register(
            "panel_orphaned_backups",
            "Complete backups that the panel did not know when it was told of them",
            self.panel_orphans.clone(),
        );
        registry.register(
            "panel_lists",
            "Lists of servers that were requested from the panel, by result",
            self.panel_lists.clone(),
        );
    }

    /// Adds the slots of a worker that starts.
    pub(crate) fn worker_started(&self, concurrency: usize) {
        self.concurrency
            .inc_by(i64::try_from(concurrency).unwrap_or(i64::MAX));
    }

    /// Subtracts the slots of a worker that stops.
    pub(crate) fn worker_stopped(&self, concurrency: usize) {
        self.concurrency
            .dec_by(i64::try_from(concurrency).unwrap_or(i64::MAX));
    }

    /// Counts a job as running until the returned guard is dropped.
    pub(crate) fn job_started(&self, kind: JobKind) -> RunningJobGuard {
        let kind = kind.as_str();
        let gauge = self.running.get_or_create_owned(&KindLabel { kind });
        gauge.inc();
        RunningJobGuard(gauge)
    }

    /// Counts an attempt that has ended.
    pub(crate) fn count_attempt(&self, kind: JobKind, outcome: AttemptOutcome) {
        let labels = OutcomeLabels {
            kind: kind.as_str(),
            outcome: outcome.as_str(),
        };
        self.ended.get_or_create(&labels).inc();
    }

    /// Counts a completed job and its duration.
    pub(crate) fn count_completed(&self, kind: JobKind, duration: Duration) {
        self.count_attempt(kind, AttemptOutcome::Completed);
        let kind = kind.as_str();
        self.durations
            .get_or_create(&KindLabel { kind })
            .observe(duration.as_secs_f64());
    }

    /// Counts the reason of a failed attempt.
    pub(crate) fn count_failure(&self, kind: JobKind, reason: FailureReason) {
        let labels = ReasonLabels {
            kind: kind.as_str(),
            reason: reason.as_str(),
        };
        self.failures.get_or_create(&labels).inc();
    }

    /// Counts the sizes of a completed backup, whose files have `source_bytes`.
    pub(crate) fn count_stored(&self, completed: &CompletedBackup, source_bytes: u64) {
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

    /// Counts how a completed backup was made, and what it cost.
    pub(crate) fn count_reuse(&self, completed: &CompletedBackup, mode: BackupMode) {
        let (mode, reason) = mode.labels();
        let labels = ModeLabels { mode, reason };
        self.completed.get_or_create(&labels).inc();
        let Some(work) = &completed.work else {
            return;
        };
        let packed = completed.size_bytes.saturating_sub(work.reused_bytes);
        for (kind, bytes) in [
            ("read", work.read_bytes),
            ("reused", work.reused_bytes),
            ("packed", packed),
            ("stored", work.stored_bytes.unwrap_or(0)),
        ] {
            let label = ByteKindLabel { kind };
            self.bytes.get_or_create(&label).inc_by(bytes);
        }
    }

    /// Counts a callback that the panel has answered.
    pub(crate) fn count_panel_callback(&self, kind: &'static str, answer: &'static str) {
        let labels = CallbackLabels { kind, answer };
        self.panel_callbacks.get_or_create(&labels).inc();
    }

    /// Counts a request to the panel that failed.
    pub(crate) fn count_panel_failure(&self, reason: &'static str) {
        let label = FailureLabel { reason };
        self.panel_failures.get_or_create(&label).inc();
    }

    /// Counts a list of the panel's servers.
    pub(crate) fn count_panel_list(&self, result: &'static str) {
        let label = ListLabel { result };
        self.panel_lists.get_or_create(&label).inc();
    }

    /// Counts a complete backup that the panel does not know.
    pub(crate) fn count_panel_orphan(&self) {
        self.panel_orphans.inc();
    }

    /// Counts a job whose lease expired.
    pub(crate) fn count_rescued(&self, job: &RescuedJob) {
        let labels = OutcomeLabels {
            kind: job.kind.as_str(),
            outcome: job.state.as_str(),
        };
        self.rescues.get_or_create(&labels).inc();
    }
}

/// Counts a job as running until dropped.
#[derive(Debug)]
pub(crate) struct RunningJobGuard(Gauge);

impl Drop for RunningJobGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}
