//! Claims jobs while slots are free, and shuts down cleanly.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span, field};

use holdfast_db::jobs::{self, Claim, ClaimRequest};
use holdfast_db::{Listener, Signal};
use holdfast_domain::JobKind;
use holdfast_domain::job::WorkerSlot;

use crate::context::Context;
use crate::finalize::finalize;
use crate::lease::ActiveJob;
use crate::maintenance::maintain;
use crate::{panel, registration, webhooks};

/// Time between two queries for jobs without a notification.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How long jobs may continue to run after the shutdown has begun.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);
/// How long jobs may take to stop after that. The lease of a job that still runs then expires.
const STOP_TIMEOUT: Duration = Duration::from_secs(7);
/// How long maintenance and the delivery of webhooks may take to stop. A query to a database that
/// hangs never ends.
const TASK_STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// How many verifications run in addition to the other jobs. There are few, because they load the
/// disk and no user waits for them.
const LOW_PRIORITY_SLOTS: usize = 1;
/// How many commands and power actions of schedules run in addition to the other jobs.
const PROMPT_SLOTS: usize = 4;

/// Runs the jobs of one node until `shutdown`. Then claims no more jobs, lets short ones end,
/// releases the rest without counting the attempt, and returns within 12 s even if something hangs.
///
/// Waits while the database is unavailable.
///
/// The future is boxed, so that its state machine is compiled in this crate and not again in each
/// caller.
pub fn run(
    context: Arc<Context>,
    shutdown: CancellationToken,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(run_jobs(context, shutdown))
}

async fn run_jobs(context: Arc<Context>, shutdown: CancellationToken) {
    let maintenance = tokio::spawn(maintain(Arc::clone(&context), shutdown.clone()));
    let stop_jobs = CancellationToken::new();
    let webhooks = tokio::spawn(webhooks::deliver_all(
        Arc::clone(&context),
        shutdown.clone(),
    ));
    let panel = tokio::spawn(panel::callbacks::deliver_all(
        Arc::clone(&context),
        shutdown.clone(),
    ));
    let mut running = JoinSet::new();
    let concurrency = context.options.concurrency;
    context.metrics.worker_started(concurrency);
    tracing::info!(
        node = %context.options.node,
        worker = context.worker,
        "the worker is ready",
    );
    let shutdown_deadline = async {
        shutdown.cancelled().await;
        tokio::time::sleep(SHUTDOWN_GRACE).await;
    };
    tokio::select! {
        () = claim_jobs(&context, &shutdown, &stop_jobs, &mut running) => {}
        // The database hangs. If it has claimed a job all the same, the lease of that job will
        // expire.
        () = shutdown_deadline => {}
    }

    let all_ended = async |running: &mut JoinSet<()>| while running.join_next().await.is_some() {};
    if tokio::time::timeout(SHUTDOWN_GRACE, all_ended(&mut running))
        .await
        .is_err()
    {
        stop_jobs.cancel();
        if tokio::time::timeout(STOP_TIMEOUT, all_ended(&mut running))
            .await
            .is_err()
        {
            tracing::warn!(
                jobs = running.len(),
                "some jobs did not stop in time; their leases will expire"
            );
        }
    }
    running.detach_all();
    tokio::join!(
        join_or_abort("maintenance", maintenance),
        join_or_abort("the delivery of webhooks", webhooks),
        join_or_abort("the delivery of callbacks to the panel", panel)
    );
    context.metrics.worker_stopped(concurrency);
    registration::unregister(&context).await;
}

/// Waits for a task to end, and aborts it after [`TASK_STOP_TIMEOUT`].
async fn join_or_abort(what: &str, mut task: JoinHandle<()>) {
    match tokio::time::timeout(TASK_STOP_TIMEOUT, &mut task).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "{what} panicked"),
        Err(_) => task.abort(),
    }
}

async fn claim_jobs(
    context: &Arc<Context>,
    shutdown: &CancellationToken,
    stop_jobs: &CancellationToken,
    running: &mut JoinSet<()>,
) {
    let mut listener = None;
    let slots = [
        (WorkerSlot::Prompt, PROMPT_SLOTS),
        (WorkerSlot::Normal, context.options.concurrency),
        (WorkerSlot::LowPriority, LOW_PRIORITY_SLOTS),
    ]
    .map(|(slot, count)| (slot, Arc::new(Semaphore::new(count))));
    while !shutdown.is_cancelled() {
        // Listen before the query, so that no job is missed in between.
        if listener.is_none() {
            match Listener::new(&context.database).await {
                Ok(connected) => listener = Some(connected),
                Err(error) => context.database_health.record_failure(
                    "the worker cannot listen for new jobs, and polls instead",
                    &error,
                ),
            }
        }
        for (slot, free) in &slots {
            let count = free.available_permits();
            if count == 0 {
                continue;
            }
            for claim in claim(context, *slot, count).await {
                // Only this loop takes permits, so one is free for each claim.
                let permit = Arc::clone(free).try_acquire_owned();
                let span = job_span(context, &claim);
                let task = run_job(Arc::clone(context), claim, stop_jobs.clone());
                let task = async move {
                    task.await;
                    drop(permit);
                };
                running.spawn(task.instrument(span));
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(POLL_INTERVAL) => {}
            () = notified(listener.as_mut(), context) => {}
            ended = running.join_next(), if !running.is_empty() => {
                if let Some(Err(error)) = ended {
                    tracing::error!(%error, "a job panicked; its lease will expire");
                }
            }
        }
    }
}

async fn claim(context: &Context, slot: WorkerSlot, count: usize) -> Vec<Claim> {
    let options = &context.options;
    let request = ClaimRequest {
        node: &options.node,
        worker: &context.worker,
        lease: options.lease,
        slot,
        count,
        limits: &options.concurrency_limits,
    };
    match jobs::claim(&context.database, &request).await {
        Ok(claims) => {
            context.database_health.record_success();
            claims
        }
        Err(error) => {
            context
                .database_health
                .record_failure("no jobs could be claimed", &error);
            Vec::new()
        }
    }
}

/// Waits until a job may have become available for this node.
async fn notified(listener: Option<&mut Listener>, context: &Context) {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    loop {
        match listener.next().await {
            Signal::JobAvailable { node } if node == context.options.node.as_str() => return,
            Signal::Reconnected => return,
            Signal::JobAvailable { .. } | Signal::JobEnded(_) | Signal::Event(_) => {}
        }
    }
}

/// Creates the span of a job, with the ID of the request that created the job.
fn job_span(context: &Context, claim: &Claim) -> Span {
    let span = tracing::error_span!("job", id = %claim.id, request_id = field::Empty);
    if let Some(trace) = &claim.trace {
        span.record("request_id", trace.request.as_str());
        if let Some(parent) = &trace.parent {
            (context.set_trace_parent)(&span, parent);
        }
    }
    span
}

async fn run_job(context: Arc<Context>, claim: Claim, stop: CancellationToken) {
    tracing::info!(
        job = %claim.id,
        kind = claim.kind.as_str(),
        backup = %claim.backup,
        attempt = claim.attempt,
        "claimed a job",
    );
    let _running = context.metrics.job_started(claim.kind);
    let (job, lease) = ActiveJob::begin(&context, claim, stop);
    // A deletion that fails leaves archives behind, so its time has no limit.
    let limit = match job.claim.kind {
        JobKind::CreateBackup | JobKind::RestoreBackup | JobKind::VerifyBackup => {
            context.options.job_limit
        }
        // The power driver limits the time of a task.
        JobKind::DeleteBackup | JobKind::DeleteServer | JobKind::RunTask => None,
    };
    let result = job.within(limit, crate::jobs::run(&context, &job)).await;
    finalize(&context, &job, result).await;
    lease.end();
    // The job has changed the free space that the next request checks.
    registration::register(&context).await;
}
