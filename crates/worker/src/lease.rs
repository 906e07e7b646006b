//! Keeps a job's lease while it is worked on, and records its progress.
//!
//! A worker that hears that a claim no longer holds stops the work at once. A
//! database that does not answer is no such news: nobody else can have taken
//! the job over without it.

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
use crate::outcome::NotDone;

/// How often progress is written, when there is some.
const PROGRESS: Duration = Duration::from_millis(500);
/// How long the database may take to answer; a connection that was lost without a word would never.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a worker without progress keeps quiet: as long as somebody who calls a job off may wait.
const QUIET: Duration = Duration::from_secs(2);

/// A job in hand: the claim, the engine's switch, and the signs to stop.
#[derive(Debug)]
pub(crate) struct Work {
    /// The claim that everything is done under.
    pub(crate) claim: Claim,
    /// When the work began.
    begun: Instant,
    /// The archive engine's switch and counters.
    pub(crate) control: Arc<Control>,
    phase: Mutex<Phase>,
    /// Who called the job off, once somebody has.
    cancelled_by: OnceLock<String>,
    /// Set when the claim no longer holds.
    lost: CancellationToken,
    /// Set when the worker is going.
    leaving: CancellationToken,
    /// Set when the work is to stop, whatever the reason.
    stop: CancellationToken,
}

impl Work {
    /// Begins to keep `claim`; the task ends with [`Lease::end`].
    pub(crate) fn begin(
        context: &Arc<Context>,
        claim: Claim,
        leaving: CancellationToken,
    ) -> (Arc<Self>, Lease) {
        let work = Arc::new(Self {
            claim,
            begun: Instant::now(),
            control: Arc::new(Control::new()),
            phase: Mutex::new(Phase::Queued),
            cancelled_by: OnceLock::new(),
            lost: CancellationToken::new(),
            leaving,
            stop: CancellationToken::new(),
        });
        let kept = keep(Arc::clone(context), Arc::clone(&work));
        let task = tokio::spawn(kept.in_current_span());
        (work, Lease(task))
    }

    /// Says what the job is busy with now.
    pub(crate) fn enter(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    /// How long it has been worked on.
    pub(crate) fn took(&self) -> Duration {
        self.begun.elapsed()
    }

    /// How many bytes of server files were read.
    pub(crate) fn source_bytes(&self) -> u64 {
        self.control.progress().bytes_done
    }

    /// Says whether the claim no longer holds.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    /// Says who called the job off, if somebody has.
    pub(crate) fn cancelled_by(&self) -> Option<&str> {
        self.cancelled_by.get().map(String::as_str)
    }

    /// Checks that the job is to go on.
    ///
    /// # Errors
    /// [`NotDone::Stopped`].
    pub(crate) fn go_on(&self) -> Result<(), NotDone> {
        if self.lost.is_cancelled() || self.leaving.is_cancelled() || self.cancelled_by().is_some()
        {
            Err(NotDone::Stopped)
        } else {
            Ok(())
        }
    }

    /// The sign to stop, whatever the reason.
    pub(crate) fn stop_sign(&self) -> &CancellationToken {
        &self.stop
    }

    /// Waits until the job is not to go on.
    pub(crate) async fn stopped(&self) -> NotDone {
        self.stop.cancelled().await;
        NotDone::Stopped
    }

    /// Does something that may be left off at any point, but no longer than the job is to go on: a disk
    /// that is away is tried for minutes.
    ///
    /// # Errors
    /// Those of `doing`, or [`NotDone::Stopped`].
    pub(crate) async fn unless_stopped<T>(
        &self,
        doing: impl Future<Output = Result<T, NotDone>>,
    ) -> Result<T, NotDone> {
        tokio::select! {
            done = doing => done,
            stopped = self.stopped() => Err(stopped),
        }
    }

    /// Stops whatever the job is busy with.
    fn halt(&self) {
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
        }
    }
}

/// The task that keeps a lease.
#[derive(Debug)]
pub(crate) struct Lease(JoinHandle<()>);

impl Lease {
    /// Ends the keeping, once the job is settled.
    pub(crate) fn end(self) {
        self.0.abort();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn keep(context: Arc<Context>, work: Arc<Work>) {
    let lease = context.options.lease;
    let mut written: Option<JobProgress> = None;
    let mut last_beat = Instant::now();
    loop {
        tokio::select! {
            () = tokio::time::sleep(PROGRESS) => {}
            () = work.leaving.cancelled(), if !work.control.is_cancelled() => {
                work.halt();
                continue;
            }
        }
        let progress = work.progress();
        if written == Some(progress) && last_beat.elapsed() < (lease / 4).min(QUIET) {
            continue;
        }
        let beat = jobs::heartbeat(&context.database, &work.claim, lease, Some(&progress));
        let beat = tokio::select! {
            beat = tokio::time::timeout(ANSWER, beat) => beat,
            () = work.leaving.cancelled(), if !work.control.is_cancelled() => {
                work.halt();
                continue;
            }
        };
        let Ok(beat) = beat else {
            tracing::warn!(job = %work.claim.id, "the database does not answer a heartbeat; trying again");
            continue;
        };
        match beat {
            Ok(HeartbeatReply::Held) => {
                context.outage.over();
                written = Some(progress);
                last_beat = Instant::now();
            }
            Ok(HeartbeatReply::Cancelled { by }) => {
                last_beat = Instant::now();
                if work.cancelled_by.set(by).is_ok() {
                    work.halt();
                }
            }
            Ok(HeartbeatReply::Lost) => {
                tracing::warn!(job = %work.claim.id, backup = %work.claim.backup, "the lease is lost; dropping the work");
                work.lost.cancel();
                work.halt();
                return;
            }
            Err(error) => {
                context.outage.failed("no heartbeat could be sent", &error);
            }
        }
    }
}
