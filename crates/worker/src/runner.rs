//! Claims jobs while there are hands free, and ends cleanly.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span, field};

use holdfast_db::jobs::{self, Claim, ClaimRequest};
use holdfast_db::{Listener, Signal};
use holdfast_domain::job::WorkerSlot;

use crate::context::Context;
use crate::jobs as work_of;
use crate::lease::Work;
use crate::maintenance::maintain;
use crate::registration;
use crate::settle::settle;
use crate::webhooks;

/// How often the table is looked at although nobody called.
const POLL: Duration = Duration::from_secs(1);
/// How long jobs may end by themselves once the worker is going.
const GRACE: Duration = Duration::from_secs(1);
/// How long they may take to stop after that; what has not stopped then is rescued by its lease.
const STOP: Duration = Duration::from_secs(7);
/// How long maintenance, and telling webhooks, may take to stop after that; what asks a database that hangs never would.
const TIDY: Duration = Duration::from_secs(1);

/// How many jobs that can wait run beside the others: reading archives back is work for the disk, and nobody waits
/// for it.
const SPARE_HANDS: usize = 1;

/// Runs jobs of one node until `shutdown`. Then it claims no more, lets short work end, gives the
/// rest back without counting the attempt, and returns within 12 s, whatever hangs.
///
/// A database that is away is waited for.
///
/// The future is boxed so that this crate compiles its state machine, and callers don't compile it
/// again.
pub fn run(
    context: Arc<Context>,
    shutdown: CancellationToken,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(run_jobs(context, shutdown))
}

async fn run_jobs(context: Arc<Context>, shutdown: CancellationToken) {
    let maintenance = tokio::spawn(maintain(Arc::clone(&context), shutdown.clone()));
    let leaving = CancellationToken::new();
    let telling = tokio::spawn(webhooks::tell(Arc::clone(&context), shutdown.clone()));
    let mut working = JoinSet::new();
    let places = context.options.concurrency;
    context.metrics.open(places);
    tracing::info!(node = %context.options.node, worker = context.worker, "taking jobs");
    let late = async {
        shutdown.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        () = take_jobs(&context, &shutdown, &leaving, &mut working) => {}
        // It asks a database that hangs. What it may have claimed all the same is rescued by its lease.
        () = late => {}
    }

    let all_ended = async |working: &mut JoinSet<()>| while working.join_next().await.is_some() {};
    if tokio::time::timeout(GRACE, all_ended(&mut working))
        .await
        .is_err()
    {
        leaving.cancel();
        if tokio::time::timeout(STOP, all_ended(&mut working))
            .await
            .is_err()
        {
            tracing::warn!(
                jobs = working.len(),
                "leaving jobs behind; their leases will run out"
            );
        }
    }
    working.detach_all();
    tokio::join!(
        end("maintenance", maintenance),
        end("telling webhooks", telling)
    );
    context.metrics.close(places);
    registration::leave(&context).await;
}

/// Waits for what is to end, and ends it if it does not.
async fn end(what: &str, mut task: JoinHandle<()>) {
    match tokio::time::timeout(TIDY, &mut task).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "{what} panicked"),
        Err(_) => task.abort(),
    }
}

async fn take_jobs(
    context: &Arc<Context>,
    shutdown: &CancellationToken,
    leaving: &CancellationToken,
    working: &mut JoinSet<()>,
) {
    let mut listener = None;
    let spare = Arc::new(Semaphore::new(SPARE_HANDS));
    while !shutdown.is_cancelled() {
        // Registered before the look, so that what comes after the look is heard.
        if listener.is_none() {
            match Listener::new(&context.database).await {
                Ok(heard) => listener = Some(heard),
                Err(error) => context
                    .outage
                    .failed("can't listen for jobs; polling", &error),
            }
        }
        let busy = working.len() + spare.available_permits();
        let free = (context.options.concurrency + SPARE_HANDS).saturating_sub(busy);
        if free > 0 {
            for claim in claim(context, WorkerSlot::Normal, free).await {
                let span = span(context, &claim);
                let handled = handle(Arc::clone(context), claim, leaving.clone());
                working.spawn(handled.instrument(span));
            }
        }
        if let Ok(hand) = Arc::clone(&spare).try_acquire_owned()
            && let Some(claim) = claim(context, WorkerSlot::LowPriority, 1).await.pop()
        {
            let span = span(context, &claim);
            let done = handle(Arc::clone(context), claim, leaving.clone());
            let handled = async move {
                done.await;
                drop(hand);
            };
            working.spawn(handled.instrument(span));
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(POLL) => {}
            () = called(listener.as_mut(), context) => {}
            ended = working.join_next(), if !working.is_empty() => {
                if let Some(Err(error)) = ended {
                    tracing::error!(%error, "a job panicked; its lease will run out");
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
        limits: &options.bounds,
    };
    match jobs::claim(&context.database, &request).await {
        Ok(claims) => {
            context.outage.over();
            claims
        }
        Err(error) => {
            context.outage.failed("no jobs could be claimed", &error);
            Vec::new()
        }
    }
}

/// Returns when a job may have become available for this node.
async fn called(listener: Option<&mut Listener>, context: &Context) {
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

/// What every line that is logged for a job says of it: where it came from.
fn span(context: &Context, claim: &Claim) -> Span {
    let span = tracing::error_span!("job", id = %claim.id, request_id = field::Empty);
    if let Some(trace) = &claim.trace {
        span.record("request_id", trace.request.as_str());
        if let Some(parent) = &trace.parent {
            (context.adopt)(&span, parent);
        }
    }
    span
}

async fn handle(context: Arc<Context>, claim: Claim, leaving: CancellationToken) {
    tracing::info!(job = %claim.id, kind = claim.kind.as_str(), backup = %claim.backup, attempt = claim.attempt, "took a job");
    let _running = context.metrics.running(claim.kind);
    let (work, lease) = Work::begin(&context, claim, leaving);
    let end = work_of::run(&context, &work).await;
    settle(&context, &work, end).await;
    lease.end();
    // What the job wrote or removed counts for the next one at once.
    registration::announce(&context).await;
}
