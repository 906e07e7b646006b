//! `/healthz` (alive) and `/readyz` (database and disks reachable).

use std::time::Duration;

use actix_web::{HttpResponse, web};
use futures_util::future::join_all;
use serde_json::{Map, Value, json};

use crate::state::ApiState;
use holdfast_domain::error_chain::chain;

/// How long a disk may take to say that it is well.
const ASK: Duration = Duration::from_secs(5);

/// Says that the process is alive.
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

/// Says whether database and disks can be reached.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "service",
    responses((status = 200, description = "Database and disks can be reached", body = Value), (status = 503, description = "Some can't, and which", body = Value)),
    security(()),
)]
pub(crate) async fn ready(state: web::Data<ApiState>) -> HttpResponse {
    let mut parts = Map::new();
    let mut all = true;
    let mut report = |name: String, problem: Option<String>| {
        if let Some(problem) = &problem {
            all = false;
            tracing::warn!(part = name, problem, "not ready");
        }
        // The reason is in the log: paths and addresses are nobody else's business.
        parts.insert(
            name,
            Value::from(if problem.is_none() {
                "ok"
            } else {
                "unreachable"
            }),
        );
    };
    report(
        "database".into(),
        state.database.ping().await.err().map(|error| chain(&error)),
    );
    // All at once, and none for long: one that hangs must not hide how the others are.
    let checks = state.disks.iter().map(async |(name, disk)| {
        let problem = match tokio::time::timeout(ASK, disk.check()).await {
            Ok(checked) => checked.err().map(|error| chain(&error)),
            Err(_) => Some(format!("no answer within {} s", ASK.as_secs())),
        };
        (format!("disk:{name}"), problem)
    });
    for (name, problem) in join_all(checks).await {
        report(name, problem);
    }
    let status = if all { "ok" } else { "unavailable" };
    let body = json!({ "status": status, "checks": parts });
    if all {
        HttpResponse::Ok().json(body)
    } else {
        HttpResponse::ServiceUnavailable().json(body)
    }
}
