//! `POST …/backups/{backup}/restore`: asks for the server's files to be as they were.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use holdfast_db::jobs::NewJob;
use holdfast_db::{activity, backups, jobs, servers};
use holdfast_domain::JobKind;
use holdfast_domain::access::Action;
use holdfast_domain::activity::ActivityEvent;
use holdfast_domain::backup::BackupOperation;
use holdfast_domain::job::RestoreArgs;
use holdfast_domain::limit::{self, ServerBusy};

use crate::auth::{Caller, permit};
use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::{Refusals, RestoreBody};
use crate::state::ApiState;
use crate::views;

/// How often a restore is tried before it has failed.
const MAX_ATTEMPTS: u32 = 3;

/// Puts the server's files back as they were.
#[utoipa::path(
    post,
    path = "/api/client/servers/{server}/backups/{backup}/restore",
    tag = "backups",
    params(
        ("server" = String, Path, description = "UUID of the server, or the eight characters before its first dash"),
        ("backup" = String, Path, description = "UUID of the backup"),
        ("truncate" = Option<String>, Query, description = "As in the body"),
    ),
    request_body(content = RestoreBody),
    responses((status = 202, description = "A worker is restoring it"), (status = 204, description = "The same, in the profile `pterodactyl`"), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn restore(
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, standing, backup) = caller.backup()?;
    permit(standing, Action::Restore)?;

    let mut fields = Fields::read(&request, payload, state.options.max_body_bytes)
        .await?
        .with_query(request.query_string());
    let truncate = fields
        .truncate(views::restore_requires_truncate(caller.profile))
        .unwrap_or(true);
    fields.check()?;

    let mut transaction = state.database.begin().await?.with_trace(caller.trace);
    let load = servers::lock(&mut transaction, server.id, 0).await?;
    let backup = backups::lock(&mut transaction, server.id, backup.id)
        .await?
        .ok_or(ApiError::NotFound)?;
    backup
        .check_completed(BackupOperation::Restore)
        .map_err(ApiError::NotCompleted)?;
    if jobs::find_deletion(&mut transaction, backup.id)
        .await?
        .is_some()
    {
        return Err(ApiError::NotFound);
    }
    limit::check_idle(load.state, load.unfinished).map_err(ApiError::Restore)?;
    let job = NewJob {
        kind: JobKind::RestoreBackup,
        server: server.id,
        backup: backup.id,
        node: &server.node,
        args: json!(RestoreArgs { truncate }),
        max_attempts: MAX_ATTEMPTS,
    };
    jobs::enqueue(&mut transaction, &job)
        .await
        .map_err(|error| match error {
            holdfast_db::Error::Conflict { .. } => ApiError::Restore(ServerBusy::Restoring),
            other => other.into(),
        })?;
    let origin = caller.origin();
    activity::record(
        &mut transaction,
        ActivityEvent::Restore,
        server.id,
        backup.id,
        Some(&origin),
        &json!(RestoreArgs { truncate }),
    )
    .await?;
    transaction.commit().await?;
    Ok(views::restore_accepted(caller.profile))
}
