//! `POST …/backups/{backup}/restore`: enqueues the job that restores the server's files.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use holdfast_db::jobs::NewJob;
use holdfast_db::{backups, jobs, servers};
use holdfast_domain::JobKind;
use holdfast_domain::access::Action;
use holdfast_domain::activity::ActivityEvent;
use holdfast_domain::backup::BackupOperation;
use holdfast_domain::job::RestoreArgs;
use holdfast_domain::limit::{self, ServerBusy};

use crate::auth::{Caller, permit};
use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::answers::Refusals;
use crate::openapi::bodies::RestoreBody;
use crate::openapi::parameters::BackupPath;
use crate::state::ApiState;
use crate::views;

/// The number of attempts before the restore has failed.
const MAX_ATTEMPTS: u32 = 3;

/// Restores the files of a server from a backup.
#[utoipa::path(
    post,
    path = "/api/client/servers/{server}/backups/{backup}/restore",
    tag = "backups",
    params(
        BackupPath,
        ("truncate" = Option<String>, Query, description = "The same as `truncate` in the body"),
    ),
    request_body(content = RestoreBody),
    responses(
        (status = 202, description = "A worker will restore the backup"),
        (status = 204, description = "Like 202, for keys with the profile `pterodactyl`"),
        Refusals,
    ),
    security(("key" = [])),
)]
pub(crate) async fn restore(
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, access, backup) = caller.backup()?;
    permit(access, Action::Restore)?;

    let fields = Fields::read(&request, payload).await?;
    let mut fields = fields.with_query(request.query_string());
    let is_required = views::restore_requires_truncate(caller.profile);
    let truncate = fields.truncate(is_required).unwrap_or(true);
    fields.check()?;

    let (mut transaction, _) = caller.begin(&state, Action::Restore).await?;
    let load = servers::lock(&mut transaction, server.id, 0).await?;
    let backup = backups::find_for_update(&mut transaction, server.id, backup.id)
        .await?
        .ok_or(ApiError::NotFound)?;
    backup
        .check_completed(BackupOperation::Restore)
        .map_err(ApiError::NotCompleted)?;
    let deletion = jobs::find_deletion(&mut transaction, backup.id).await?;
    if deletion.is_some() {
        return Err(ApiError::NotFound);
    }
    limit::check_idle(load.state, load.unfinished).map_err(ApiError::Restore)?;

    let args = json!(RestoreArgs {
        truncate,
        panel: false,
    });
    let job = NewJob {
        kind: JobKind::RestoreBackup,
        server: server.id,
        backup: backup.id,
        node: &server.node,
        args: args.clone(),
        max_attempts: MAX_ATTEMPTS,
        run: None,
    };
    jobs::enqueue(&mut transaction, &job)
        .await
        .map_err(|error| match error {
            holdfast_db::Error::Conflict { .. } => ApiError::Restore(ServerBusy::Restoring),
            other => other.into(),
        })?;
    let event = ActivityEvent::Restore;
    caller
        .record_event(&mut transaction, event, server.id, backup.id, &args)
        .await?;
    transaction.commit().await?;
    Ok(views::restore_accepted(caller.profile))
}
