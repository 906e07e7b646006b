//! Tells the panel how backups and restores ended, until it has taken it: a callback is never given
//! up, and those of a backup are sent in order.
//!
//! While the panel does not answer, all callbacks wait, and one at a time is tried. A worker that
//! is killed after the panel has answered sends the callback again, which the panel refuses as
//! already taken.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use holdfast_db::Error;
use holdfast_db::panel_callbacks::{self, CallbackKind, ClaimedCallback};
use holdfast_domain::error_chain::chain;
use holdfast_domain::retry;
use holdfast_domain::wings::WingsNode;

use super::client::{CallbackAnswer, PanelClient, PanelError};
use super::health::{FailureScope, PanelHealth};
use crate::context::Context;

/// Time between two rounds. Each round claims callbacks that are due.
const ROUND_INTERVAL: Duration = Duration::from_millis(500);
/// How many callbacks one worker sends concurrently.
const CONCURRENCY: usize = 8;
/// After how many refused attempts of a callback a warning is logged.
const WARN_AFTER: u32 = 3;
/// How long a claim lasts: longer than a request.
const CLAIM_DURATION: Duration = Duration::from_secs(30);
/// The longest time between two attempts of a callback that the panel refuses.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// After this time, a backup that the panel does not know is one that it has deleted. It is longer
/// than a request of the panel to the node can take.
const UNKNOWN_AFTER: Duration = Duration::from_secs(60);
/// How long callbacks may take to end after the shutdown began.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(800);

/// Sends the callbacks of this worker's node until `shutdown`.
pub(crate) async fn deliver_all(context: Arc<Context>, shutdown: CancellationToken) {
    let Some(client) = context
        .options
        .wings
        .as_ref()
        .and_then(|wings| create(&wings.node))
    else {
        return;
    };
    let health = Arc::new(PanelHealth::default());
    let mut sending = JoinSet::new();
    while !shutdown.is_cancelled() {
        let free = CONCURRENCY.saturating_sub(sending.len());
        let limit = health.allowed(free, sending.len(), Instant::now());
        let mut claimed_all = false;
        if limit > 0 {
            let node = &context.options.node;
            match panel_callbacks::claim(&context.database, node, CLAIM_DURATION, limit).await {
                Ok(claims) => {
                    claimed_all = claims.len() == limit;
                    for claimed in claims {
                        let (context, client) = (Arc::clone(&context), client.clone());
                        let health = Arc::clone(&health);
                        sending.spawn(async move {
                            deliver(&context, &client, &health, &claimed).await;
                        });
                    }
                }
                Err(error) => {
                    let what = "callbacks of the panel could not be claimed";
                    context.database_health.record_failure(what, &error);
                }
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(ROUND_INTERVAL) => {}
            // More are waiting than were free.
            Some(ended) = sending.join_next(), if claimed_all => log_panic(ended),
        }
        while let Some(ended) = sending.try_join_next() {
            log_panic(ended);
        }
    }
    let all_ended = async { while sending.join_next().await.is_some() {} };
    // The next worker repeats an interrupted callback.
    let _in_time = tokio::time::timeout(SHUTDOWN_GRACE, all_ended).await;
}

/// Creates the client for the panel. Logs a failure.
pub(super) fn create(node: &WingsNode) -> Option<PanelClient> {
    match PanelClient::new(node) {
        Ok(client) => Some(client),
        Err(error) => {
            tracing::error!(
                error = chain(&error),
                "the HTTP client for the panel could not be created; the panel is not told how \
                 backups and restores end"
            );
            None
        }
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a callback of the panel panicked; its claim will expire");
    }
}

async fn deliver(
    context: &Context,
    client: &PanelClient,
    health: &PanelHealth,
    claimed: &ClaimedCallback,
) {
    let sent_at = Instant::now();
    let sent = client
        .report(claimed.kind, claimed.backup, &claimed.body)
        .await;
    let sent = match sent {
        // The panel writes its row of a backup after the node has accepted the request, so it may
        // not know a new backup yet.
        Ok(CallbackAnswer::Unknown) if claimed.age < UNKNOWN_AFTER => Err(PanelError::Refused {
            status: 404,
            detail: "the panel does not know the backup yet".to_owned(),
        }),
        sent => sent,
    };
    let recorded = match sent {
        Ok(answer) => {
            health.record_success(Instant::now());
            record_answer(context, claimed, answer).await
        }
        Err(error) => {
            context.metrics.count_panel_failure(error.reason());
            let jitter = (context.jitter)();
            let scope = health.record_failure(&error, sent_at, Instant::now(), jitter);
            let (is_own, wait) = match scope {
                FailureScope::Panel(pause) => (false, pause),
                FailureScope::Request => {
                    let attempt = claimed.attempts.saturating_add(1);
                    (true, retry::redelivery_delay(attempt, jitter).min(WAIT_MAX))
                }
            };
            let text = format!("{}: {}", error.reason(), chain(&error));
            if is_own && claimed.attempts == WARN_AFTER {
                tracing::warn!(
                    server = %claimed.server,
                    backup = %claimed.backup,
                    kind = claimed.kind.as_str(),
                    error = text,
                    "the panel did not take the report of a backup or restore; it is repeated \
                     until the panel does"
                );
            }
            let database = &context.database;
            panel_callbacks::record_failure(database, claimed, &text, is_own, wait)
                .await
                .map(|_| ())
        }
    };
    if let Err(error) = recorded {
        // The claim expires, and the callback is sent again.
        let what = "the result of a callback of the panel could not be recorded";
        context.database_health.record_failure(what, &error);
    }
}

async fn record_answer(
    context: &Context,
    claimed: &ClaimedCallback,
    answer: CallbackAnswer,
) -> Result<(), Error> {
    let database = &context.database;
    let is_success = claimed.body.get("successful") == Some(&serde_json::Value::Bool(true));
    let is_orphan = answer == CallbackAnswer::Unknown
        && claimed.kind == CallbackKind::Backup
        && is_success
        && panel_callbacks::is_kept(database, claimed.backup).await?;
    if !panel_callbacks::record_done(database, claimed).await? {
        return Ok(());
    }
    let kind = claimed.kind.as_str();
    context.metrics.count_panel_callback(kind, answer.as_str());
    tracing::debug!(
        server = %claimed.server,
        backup = %claimed.backup,
        kind,
        answer = answer.as_str(),
        "told the panel how a backup or restore ended",
    );
    if is_orphan {
        context.metrics.count_panel_orphan();
        tracing::warn!(
            server = %claimed.server,
            backup = %claimed.backup,
            "the panel does not know a backup that is complete: its archive is kept, and no page \
             of the panel shows it. An administrator can \
             download or delete it through the API",
        );
    }
    Ok(())
}
