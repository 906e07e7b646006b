//! Renews a job's lease while the job runs, and records its progress.
//!
//! A worker stops a job at once when its claim no longer holds. It does not stop when the database
//! does not answer: without the database, no other worker can claim the job.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use holdfast_archive::Control;
use holdfast_db::jobs::{self, Claim, HeartbeatReply};
use holdfast_domain::JobProgress;
use holdfast_domain::job::Phase;

use crate::context::Context;
use crate::outcome::{FailureReason, JobError};

/// Time between two heartbeats while there is progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);
/// How long a heartbeat may take. A broken connection may never report an error.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum time between two heartbeats without progress. A cancelled job stops at the next one.
const IDLE_INTERVAL: Duration = Duration::from_secs(2);

/// A job that runs: its claim, the archive engine's controls, and the signals to stop.
#[derive(Debug)]
pub(crate) struct ActiveJob {
    /// The claim under which the job runs.
    pub(crate) claim: Claim,
    /// When the attempt began.
    began_at: Instant,
    /// Stops the archive engine, and counts its progress.
    pub(crate) control: Arc<Control>,
    phase: Mutex<Phase>,
    /// Who cancelled the job, if it was cancelled.
    cancelled_by: OnceLock<String>,
    /// Set when the claim no longer holds.
    lost: CancellationToken,
    /// Set when the worker shuts down.
    shutdown: CancellationToken,
    /// Set when the attempt has run for as long as a job may.
    out_of_time: OnceLock<()>,
    /// Set when the job must stop, for any reason.
    stop: CancellationToken,
}

impl ActiveJob {
    /// Starts the task that renews the lease of `claim`.
    pub(crate) fn begin(
        context: &Arc<Context>,
        claim: Claim,
        shutdown: CancellationToken,
    ) -> (Arc<Self>, LeaseTask) {
        let job = Arc::new(Self {
            claim,
            began_at: Instant::now(),
            control: Arc::new(Control::new()),
            phase: Mutex::new(Phase::Queued),
            cancelled_by: OnceLock::new(),
            lost: CancellationToken::new(),
            shutdown,
            out_of_time: OnceLock::new(),
            stop: CancellationToken::new(),
        });
        let renewal = renew(Arc::clone(context), Arc::clone(&job));
        let task = tokio::spawn(renewal.in_current_span());
        (job, LeaseTask(task))
    }

    /// Sets the phase that users see.
    pub(crate) fn set_phase(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    /// Returns how long this attempt has run.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began_at.elapsed()
    }

    /// Returns how many bytes of the server's files are in the archive so far.
    pub(crate) fn source_bytes(&self) -> u64 {
        self.control.progress().bytes_done
    }

    /// Returns whether the claim no longer holds.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    /// Returns who cancelled the job, if it was cancelled.
    pub(crate) fn cancelled_by(&self) -> Option<&str> {
        self.cancelled_by.get().map(String::as_str)
    }

    /// Checks whether the job must stop.
    ///
    /// # Errors
    /// [`JobError::Stopped`] if so.
    pub(crate) fn check_stop(&self) -> Result<(), JobError> {
        let is_stopped = self.lost.is_cancelled()
            || self.shutdown.is_cancelled()
            || self.cancelled_by().is_some()
            || self.out_of_time.get().is_some();
        if is_stopped {
            Err(JobError::Stopped)
        } else {
            Ok(())
        }
    }

    /// Returns the token that is cancelled when the job must stop, for any reason.
    pub(crate) fn stop_token(&self) -> &CancellationToken {
        &self.stop
    }

    /// Waits until the job must stop. Returns [`JobError::Stopped`].
    pub(crate) async fn stopped(&self) -> JobError {
        self.stop.cancelled().await;
        JobError::Stopped
    }

    /// Runs a future until it ends or the job must stop. The future may be dropped at any point. A
    /// disk that is unavailable is retried for minutes, and stopping must not wait for that.
    ///
    /// # Errors
    /// Those of `future`, or [`JobError::Stopped`].
    pub(crate) async fn unless_stopped<T>(
        &self,
        future: impl Future<Output = Result<T, JobError>>,
    ) -> Result<T, JobError> {
        tokio::select! {
            result = future => result,
            stopped = self.stopped() => Err(stopped),
        }
    }

    /// Runs the job's work, and stops it after `limit`. A job that has ended by then counts.
    ///
    /// # Errors
    /// Those of `work`. If it stopped because of the limit alone, a permanent error.
    pub(crate) async fn within<T>(
        &self,
        limit: Option<Duration>,
        work: impl Future<Output = Result<T, JobError>>,
    ) -> Result<T, JobError> {
        let Some(limit) = limit else {
            return work.await;
        };
        let mut work = std::pin::pin!(work);
        tokio::select! {
            ended = &mut work => return ended,
            () = tokio::time::sleep(limit) => {}
        }
        let has_other_reason = self.check_stop().is_err();
        if self.out_of_time.set(()).is_ok() {
            self.stop();
        }
        match work.await {
            Err(JobError::Stopped) if !has_other_reason => {
                let seconds = limit.as_secs();
                let sentence =
                    format!("The job ran longer than the {seconds} seconds that are allowed.");
                let detail = format!("the job ran longer than limits.job_seconds = {seconds}");
                let failed = JobError::permanent(sentence, detail);
                Err(failed.with_reason(FailureReason::OutOfTime))
            }
            ended => ended,
        }
    }

    /// Stops the job's work.
    fn stop(&self) {
        self.control.cancel();
        self.stop.cancel();
    }

    fn progress(&self) -> JobProgress {
        let counted = self.control.progress();
        JobProgress {
            phase: *self.phase.lock().unwrap_or_else(PoisonError::into_inner),
            bytes_done: counted.bytes_done,
            bytes_total: counted.bytes_total,
            files_done: counted.files_done,
            files_total: counted.files_total,
            slowed: self.control.is_slowed(),
        }
    }
}

/// The task that renews a lease. Ends on drop.
#[derive(Debug)]
pub(crate) struct LeaseTask(JoinHandle<()>);

impl LeaseTask {
    /// Ends the task, once the job's result is recorded.
    pub(crate) fn end(self) {
        self.0.abort();
    }
}

impl Drop for LeaseTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn renew(context: Arc<Context>, job: Arc<ActiveJob>) {
    let lease = context.options.lease;
    let mut last_written: Option<JobProgress> = None;
    let mut last_heartbeat = Instant::now();
    loop {
        tokio::select! {
            () = tokio::time::sleep(PROGRESS_INTERVAL) => {}
            () = job.shutdown.cancelled(), if !job.control.is_cancelled() => {
                job.stop();
                continue;
            }
        }
        let progress = job.progress();
        if last_written == Some(progress)
            && last_heartbeat.elapsed() < (lease / 4).min(IDLE_INTERVAL)
        {
            continue;
        }
        let heartbeat = jobs::heartbeat(&context.database, &job.claim, lease, Some(&progress));
        let reply = tokio::select! {
            reply = tokio::time::timeout(HEARTBEAT_TIMEOUT, heartbeat) => reply,
            () = job.shutdown.cancelled(), if !job.control.is_cancelled() => {
                job.stop();
                continue;
            }
        };
        let Ok(reply) = reply else {
            tracing::warn!(
                job = %job.claim.id,
                "the database does not answer a heartbeat; retrying",
            );
            continue;
        };
        match reply {
            Ok(HeartbeatReply::Held) => {
                context.database_health.record_success();
                last_written = Some(progress);
                last_heartbeat = Instant::now();
            }
            Ok(HeartbeatReply::Cancelled { by }) => {
                last_heartbeat = Instant::now();
                if job.cancelled_by.set(by).is_ok() {
                    job.stop();
                }
            }
            Ok(HeartbeatReply::Lost) => {
                tracing::warn!(
                    job = %job.claim.id,
                    backup = %job.claim.backup,
                    "the lease is lost; stopping the job",
                );
                job.lost.cancel();
                job.stop();
                return;
            }
            Err(error) => {
                context
                    .database_health
                    .record_failure("a heartbeat failed", &error);
            }
        }
    }
}
