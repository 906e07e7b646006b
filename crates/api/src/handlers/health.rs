//! `/healthz` (alive) and `/readyz` (database and disks reachable).

use actix_web::{HttpResponse, web};
use serde_json::{Map, Value, json};

use crate::error::chain;
use crate::state::ApiState;

pub(crate) async fn alive() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

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
    for (name, disk) in state.disks.iter() {
        report(
            format!("disk:{name}"),
            disk.check().await.err().map(|error| chain(&error)),
        );
    }
    let status = if all { "ok" } else { "unavailable" };
    let body = json!({ "status": status, "checks": parts });
    if all {
        HttpResponse::Ok().json(body)
    } else {
        HttpResponse::ServiceUnavailable().json(body)
    }
}
