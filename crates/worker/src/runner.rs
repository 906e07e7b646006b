//! Claims jobs while there are hands free, and ends cleanly.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use holdfast_db::jobs::{self, Claim};
use holdfast_db::{Listener, Signal};

use crate::context::Context;
use crate::jobs as work_of;
use crate::lease::Work;
use crate::maintenance::maintain;
use crate::presence;
use crate::settle::settle;

/// How often the table is looked at although nobody called.
const POLL: Duration = Duration::from_secs(1);
/// How long jobs may end by themselves once the worker is going.
const GRACE: Duration = Duration::from_secs(1);
/// How long they may take to stop after that; what has not stopped then is rescued by its lease.
const STOP: Duration = Duration::from_secs(7);
/// How long maintenance may take to stop after that; one that asks a database that hangs never would.
const TIDY: Duration = Duration::from_secs(1);

/// Runs jobs of one node until `shutdown`. Then it claims no more, lets short work end, gives the
/// rest back without counting the attempt, and returns within 12 s, whatever hangs.
///
/// A database that is away is waited for.
pub async fn run(context: Arc<Context>, shutdown: CancellationToken) {
    let mut maintenance = tokio::spawn(maintain(Arc::clone(&context), shutdown.clone()));
    let leaving = CancellationToken::new();
    let mut working = JoinSet::new();
    tracing::info!(node = %context.options.node, worker = context.options.worker, "taking jobs");
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
    match tokio::time::timeout(TIDY, &mut maintenance).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "maintenance panicked"),
        Err(_) => maintenance.abort(),
    }
    presence::leave(&context).await;
}

async fn take_jobs(
    context: &Arc<Context>,
    shutdown: &CancellationToken,
    leaving: &CancellationToken,
    working: &mut JoinSet<()>,
) {
    let mut listener = None;
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
        let free = context.options.concurrency.saturating_sub(working.len());
        if free > 0 {
            for claim in claim(context, free).await {
                working.spawn(handle(Arc::clone(context), claim, leaving.clone()));
            }
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

async fn claim(context: &Context, limit: usize) -> Vec<Claim> {
    let options = &context.options;
    match jobs::claim(
        &context.database,
        &options.node,
        &options.worker,
        options.lease,
        limit,
    )
    .await
    {
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
            Signal::Available { node } if node == context.options.node.as_str() => return,
            Signal::Reconnected => return,
            Signal::Available { .. } | Signal::Final(_) => {}
        }
    }
}

async fn handle(context: Arc<Context>, claim: Claim, leaving: CancellationToken) {
    tracing::info!(job = %claim.id, kind = claim.kind.as_str(), backup = %claim.backup, attempt = claim.attempt, "took a job");
    let (work, lease) = Work::begin(&context, claim, leaving);
    let end = work_of::run(&context, &work).await;
    settle(&context, &work, end).await;
    lease.end();
    // What the job wrote or removed counts for the next one at once.
    presence::announce(&context).await;
}
