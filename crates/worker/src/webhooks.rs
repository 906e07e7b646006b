//! Tells webhooks of notices: at least once each, in order as long as nothing fails.
//!
//! One webhook is served by one worker at a time, and one after the other, so a
//! slow receiver holds up nobody but itself. One that can't be reached is left
//! alone for a while as a whole; one that refuses a notice is told the others.

mod send;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use holdfast_db::webhooks::{self, ClaimedWebhook, Delivery};
use holdfast_db::{Error, events};
use holdfast_domain::error_chain::chain;
use holdfast_domain::retry;

pub use self::send::{SendError, WebhookResponse, WebhookSender};
use crate::context::Context;

/// How often webhooks that have something to be told are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// How many of them one worker serves at once.
const AT_ONCE: usize = 32;
/// How long a claim holds: longer than a turn and the last request of it.
const HOLD: Duration = Duration::from_secs(60);
/// How long one webhook is served before others may have their turn.
const TURN: Duration = Duration::from_secs(30);
/// How many deliveries are read at once.
const BATCH: u32 = 20;
/// How often a delivery is tried.
const ATTEMPTS: u32 = 20;
/// How long a webhook that can't be reached is left alone at most.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How old a notice may be that is still delivered.
const AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long notices are kept for streams that come back.
const KEEP: Duration = Duration::from_secs(7 * 24 * 3600);
/// After how many looks what is too old goes.
const PRUNE_EVERY: u32 = 300;
/// How long deliveries that are under way may take to end once the worker is going.
const GRACE: Duration = Duration::from_secs(2);

/// Serves webhooks until `shutdown`.
pub(crate) async fn tell(context: Arc<Context>, shutdown: CancellationToken) {
    let sender = match WebhookSender::new() {
        Ok(sender) => sender,
        Err(error) => {
            tracing::error!(error = chain(&error), "no webhook can be told");
            return;
        }
    };
    let mut serving = JoinSet::new();
    let mut round: u32 = 0;
    while !shutdown.is_cancelled() {
        while serving.try_join_next().is_some() {}
        let free = AT_ONCE.saturating_sub(serving.len());
        match webhooks::claim(&context.database, HOLD, free).await {
            Ok(claims) => {
                for claimed in claims {
                    let (context, sender) = (Arc::clone(&context), sender.clone());
                    let shutdown = shutdown.clone();
                    serving
                        .spawn(async move { serve(&context, &sender, &claimed, &shutdown).await });
                }
            }
            Err(error) => {
                let what = "webhooks could not be looked at";
                context.outage.failed(what, &error);
            }
        }
        if round.is_multiple_of(PRUNE_EVERY) {
            prune(&context).await;
        }
        round = round.wrapping_add(1);
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
    let all_ended = async { while serving.join_next().await.is_some() {} };
    // What is cut off is delivered again, by whoever claims the webhook next.
    let _late = tokio::time::timeout(GRACE, all_ended).await;
}

async fn prune(context: &Context) {
    let done = async {
        let given_up = webhooks::expire(&context.database, AGE_MAX).await?;
        events::prune(&context.database, KEEP).await?;
        Ok::<u64, Error>(given_up)
    };
    match done.await {
        Ok(0) => {}
        Ok(given_up) => {
            tracing::warn!(
                given_up,
                "gave up telling webhooks of what is more than a day old"
            );
        }
        Err(error) => {
            let what = "old notices could not be removed";
            context.outage.failed(what, &error);
        }
    }
}

async fn serve(
    context: &Context,
    sender: &WebhookSender,
    claimed: &ClaimedWebhook,
    stop: &CancellationToken,
) {
    if let Err(error) = turn(context, sender, claimed, stop).await {
        tracing::warn!(webhook = %claimed.id, error = chain(&error), "what became of a delivery could not be written down");
    }
    if let Err(error) = webhooks::release(&context.database, claimed).await {
        tracing::warn!(webhook = %claimed.id, error = chain(&error), "a webhook could not be given back; its claim will run out");
    }
}

/// Tells a webhook what is due, until its turn is over, it can't be reached, or the claim is lost.
async fn turn(
    context: &Context,
    sender: &WebhookSender,
    claimed: &ClaimedWebhook,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let begun = Instant::now();
    loop {
        let due = webhooks::list_due(&context.database, claimed.id, BATCH).await?;
        let is_last = due.len() < BATCH as usize;
        for delivery in due {
            if begun.elapsed() > TURN || stop.is_cancelled() {
                return Ok(());
            }
            if !deliver(context, sender, claimed, &delivery).await? {
                return Ok(());
            }
        }
        if is_last {
            return Ok(());
        }
    }
}

/// Makes one delivery; says whether to go on with the next one.
async fn deliver(
    context: &Context,
    sender: &WebhookSender,
    claimed: &ClaimedWebhook,
    delivery: &Delivery,
) -> Result<bool, Error> {
    let (database, notice) = (&context.database, &delivery.event);
    let attempt = delivery.attempts + 1;
    let sent = sender
        .send(
            &claimed.url,
            &claimed.secret,
            &notice.body(),
            (context.now)(),
        )
        .await;
    let (why, is_reached) = match sent {
        Ok(answer) if answer.is_success() => {
            tracing::debug!(webhook = %claimed.id, notice = %notice.id, attempt, "told a webhook");
            return webhooks::record_delivery(database, claimed, notice).await;
        }
        // What says that it is down or busy counts as not reached.
        Ok(answer) => (
            format!("it answered {}", answer.status),
            !matches!(answer.status, 429 | 502 | 503 | 504),
        ),
        Err(error) => (chain(&error), false),
    };
    let ours = if attempt >= ATTEMPTS {
        tracing::warn!(webhook = %claimed.id, notice = %notice.id, attempt, error = why, "gave up telling a webhook");
        webhooks::give_up(database, claimed, notice, &why).await?
    } else {
        let wait = retry::redelivery_delay(attempt, (context.jitter)());
        tracing::debug!(webhook = %claimed.id, notice = %notice.id, attempt, error = why, "a webhook could not be told");
        webhooks::record_failure(database, claimed, notice, &why, wait).await?
    };
    if !is_reached {
        let failures = claimed.failures.saturating_add(1);
        let wait = retry::redelivery_delay(failures, (context.jitter)()).min(PAUSE_MAX);
        webhooks::pause(database, claimed, wait).await?;
    }
    Ok(ours && is_reached)
}
