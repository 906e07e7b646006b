//! `/healthz` (the process is alive) and `/readyz` (the database and disks can be reached).

use std::time::Duration;

use actix_web::{HttpResponse, web};
use futures_util::future::join_all;
use serde_json::{Map, Value, json};

use holdfast_db::panel_callbacks;
use holdfast_domain::error_chain::chain;

use crate::state::ApiState;

/// How long the check of a disk may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers while the process is alive.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "service",
    responses((status = 200, description = "The process is alive", body = Value)),
    security(()),
)]
pub(crate) async fn alive() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// Checks that the database and the disks can be reached.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "service",
    responses(
        (
            status = 200,
            description = "The database and the disks can be reached. Beside Wings, `panel` says \
                           how many ends of backups and restores the panel does not know yet",
            body = Value,
        ),
        (
            status = 503,
            description = "The database or a disk cannot be reached. The body lists which",
            body = Value,
        ),
    ),
    security(()),
)]
pub(crate) async fn ready(state: web::Data<ApiState>) -> HttpResponse {
    let mut checks = Map::new();
    let mut is_ready = true;
    let mut report = |name: String, problem: Option<String>| {
        if let Some(problem) = &problem {
            is_ready = false;
            tracing::warn!(part = name, problem, "not ready");
        }
        // The reason may contain paths and addresses, so it is only logged.
        let result = match problem {
            None => "ok",
            Some(_) => "unreachable",
        };
        checks.insert(name, Value::from(result));
    };
    report(
        "database".into(),
        state.database.ping().await.err().map(|error| chain(&error)),
    );
    // Concurrent and with a timeout, so that a disk that hangs does not delay the others.
    let disk_checks = state.disks.iter().map(async |(name, disk)| {
        let problem = match tokio::time::timeout(CHECK_TIMEOUT, disk.check()).await {
            Ok(checked) => checked.err().map(|error| chain(&error)),
            Err(_) => Some(format!("no answer within {} s", CHECK_TIMEOUT.as_secs())),
        };
        (format!("disk:{name}"), problem)
    });
    for (name, problem) in join_all(disk_checks).await {
        report(name, problem);
    }
    let status = if is_ready { "ok" } else { "unavailable" };
    let mut body = json!({ "status": status, "checks": checks });
    if state.options.wings.is_some() {
        body["panel"] = panel(&state).await;
    }
    if is_ready {
        HttpResponse::Ok().json(body)
    } else {
        HttpResponse::ServiceUnavailable().json(body)
    }
}

/// Returns what the panel has not been told of yet. It does not decide whether the service is
/// ready: backups work without the panel.
async fn panel(state: &ApiState) -> Value {
    match panel_callbacks::waiting(&state.database, &state.options.node).await {
        Ok(None) => json!({ "callbacks_waiting": 0 }),
        Ok(Some(waiting)) => {
            // The rest of the text may contain addresses.
            let reason = waiting.last_error.as_deref();
            let reason = reason.and_then(|error| Some(error.split_once(':')?.0));
            json!({
                "callbacks_waiting": waiting.count,
                "waiting_since": waiting.oldest,
                "reason": reason,
            })
        }
        Err(_) => Value::Null,
    }
}
