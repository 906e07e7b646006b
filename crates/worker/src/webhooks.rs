//! Delivers events to webhooks: each at least once, and in order as long as no delivery fails.
//!
//! One worker at a time serves a webhook, one delivery after another, so a slow receiver delays
//! only itself. If a receiver can't be reached, all its deliveries pause. If it rejects one event,
//! the others are still delivered.

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

/// Time between two rounds. Each round claims the webhooks with due deliveries.
const ROUND_INTERVAL: Duration = Duration::from_secs(1);
/// How many webhooks one worker serves concurrently.
const CONCURRENCY: usize = 32;
/// How long a claim lasts. Longer than [`TURN`] and one more request.
const CLAIM_DURATION: Duration = Duration::from_secs(60);
/// How long one webhook is served before its claim is released.
const TURN: Duration = Duration::from_secs(30);
/// How many deliveries are read at once.
const BATCH: u32 = 20;
/// How many times a delivery is tried.
const ATTEMPTS_MAX: u32 = 20;
/// The maximum pause of a webhook that can't be reached.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// The maximum age of an event that is still delivered.
const AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long events are kept for event streams that resume.
const KEEP: Duration = Duration::from_secs(7 * 24 * 3600);
/// After how many rounds old events are removed.
const PRUNE_EVERY: u32 = 300;
/// How long deliveries may take to end after the shutdown began.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// Delivers events to all webhooks until `shutdown`.
pub(crate) async fn deliver_all(context: Arc<Context>, shutdown: CancellationToken) {
    let sender = match WebhookSender::new() {
        Ok(sender) => sender,
        Err(error) => {
            tracing::error!(
                error = chain(&error),
                "the HTTP client for webhooks could not be created; no webhooks are sent"
            );
            return;
        }
    };
    let mut serving = JoinSet::new();
    let mut round: u32 = 0;
    while !shutdown.is_cancelled() {
        while serving.try_join_next().is_some() {}
        let free = CONCURRENCY.saturating_sub(serving.len());
        match webhooks::claim(&context.database, CLAIM_DURATION, free).await {
            Ok(claims) => {
                for claimed in claims {
                    let (context, sender) = (Arc::clone(&context), sender.clone());
                    let shutdown = shutdown.clone();
                    serving
                        .spawn(async move { serve(&context, &sender, &claimed, &shutdown).await });
                }
            }
            Err(error) => {
                let what = "webhooks could not be claimed";
                context.database_health.record_failure(what, &error);
            }
        }
        if round.is_multiple_of(PRUNE_EVERY) {
            prune(&context).await;
        }
        round = round.wrapping_add(1);
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(ROUND_INTERVAL) => {}
        }
    }
    let all_ended = async { while serving.join_next().await.is_some() {} };
    // The next worker that claims the webhook repeats an interrupted delivery.
    let _in_time = tokio::time::timeout(SHUTDOWN_GRACE, all_ended).await;
}

async fn prune(context: &Context) {
    let pruned = async {
        let given_up = webhooks::expire(&context.database, AGE_MAX).await?;
        events::prune(&context.database, KEEP).await?;
        Ok::<u64, Error>(given_up)
    };
    match pruned.await {
        Ok(0) => {}
        Ok(given_up) => {
            tracing::warn!(given_up, "gave up deliveries that are more than a day old");
        }
        Err(error) => {
            let what = "old events could not be removed";
            context.database_health.record_failure(what, &error);
        }
    }
}

/// Delivers one webhook's events for one turn, then releases its claim.
async fn serve(
    context: &Context,
    sender: &WebhookSender,
    claimed: &ClaimedWebhook,
    stop: &CancellationToken,
) {
    if let Err(error) = deliver_due(context, sender, claimed, stop).await {
        tracing::warn!(
            webhook = %claimed.id,
            error = chain(&error),
            "the result of a delivery could not be recorded",
        );
    }
    if let Err(error) = webhooks::release(&context.database, claimed).await {
        tracing::warn!(
            webhook = %claimed.id,
            error = chain(&error),
            "a webhook could not be released; its claim will expire",
        );
    }
}

/// Makes a webhook's due deliveries, until the turn is over, the receiver can't be reached, or the
/// claim is lost.
async fn deliver_due(
    context: &Context,
    sender: &WebhookSender,
    claimed: &ClaimedWebhook,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let started_at = Instant::now();
    loop {
        let due = webhooks::list_due(&context.database, claimed.id, BATCH).await?;
        let is_last = due.len() < BATCH as usize;
        for delivery in due {
            if started_at.elapsed() > TURN || stop.is_cancelled() {
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

/// Makes one delivery. Returns whether to go on with the next one.
async fn deliver(
    context: &Context,
    sender: &WebhookSender,
    claimed: &ClaimedWebhook,
    delivery: &Delivery,
) -> Result<bool, Error> {
    let (database, event) = (&context.database, &delivery.event);
    let attempt = delivery.attempts + 1;
    let sent = sender
        .send(
            &claimed.url,
            &claimed.secret,
            &event.body(),
            (context.now)(),
        )
        .await;
    let (why, is_reached) = match sent {
        Ok(answer) if answer.is_success() => {
            tracing::debug!(
                webhook = %claimed.id,
                notice = %event.id,
                attempt,
                "delivered an event to a webhook",
            );
            return webhooks::record_delivery(database, claimed, event).await;
        }
        // These statuses say that the receiver is down or busy.
        Ok(answer) => (
            format!("it answered {}", answer.status),
            !matches!(answer.status, 429 | 502 | 503 | 504),
        ),
        Err(error) => (chain(&error), false),
    };
    let is_claimed = if attempt >= ATTEMPTS_MAX {
        tracing::warn!(
            webhook = %claimed.id,
            notice = %event.id,
            attempt,
            error = why,
            "gave up a delivery to a webhook",
        );
        webhooks::give_up(database, claimed, event, &why).await?
    } else {
        let wait = retry::redelivery_delay(attempt, (context.jitter)());
        tracing::debug!(
            webhook = %claimed.id,
            notice = %event.id,
            attempt,
            error = why,
            "a delivery to a webhook failed",
        );
        webhooks::record_failure(database, claimed, event, &why, wait).await?
    };
    if !is_reached {
        let failures = claimed.failures.saturating_add(1);
        let wait = retry::redelivery_delay(failures, (context.jitter)()).min(PAUSE_MAX);
        webhooks::pause(database, claimed, wait).await?;
    }
    Ok(is_claimed && is_reached)
}
