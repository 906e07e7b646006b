//! `POST …/backups/{backup}/restore`: enqueues the job that restores the server's files, or some of
//! them.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use holdfast_db::jobs::NewJob;
use holdfast_db::{backups, jobs, servers};
use holdfast_domain::access::Action;
use holdfast_domain::activity::ActivityEvent;
use holdfast_domain::backup::BackupOperation;
use holdfast_domain::job::RestoreArgs;
use holdfast_domain::limit::{self, ServerBusy};
use holdfast_domain::{Backup, JobKind, RestorePaths, ServerId};
use holdfast_storage::{ArchiveKey, StorageKey};

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
/// How long a request waits to learn whether the backup has the requested paths.
const LOOK_UP_TIME: Duration = Duration::from_secs(5);

/// Restores the files of a server from a backup, or only some files and folders.
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
    let paths = fields.restore_paths();
    fields.check()?;
    if let Some(paths) = &paths {
        refuse_missing(&state, server.id, backup, paths).await?;
    }

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

    let mut details = json!({ "truncate": truncate });
    if let Some(paths) = &paths {
        details["paths"] = json!(paths.as_slice());
    }
    let args = json!(RestoreArgs {
        truncate,
        paths,
        panel: false,
    });
    let job = NewJob {
        kind: JobKind::RestoreBackup,
        server: server.id,
        backup: backup.id,
        node: &server.node,
        args,
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
        .record_event(&mut transaction, event, server.id, backup.id, &details)
        .await?;
    transaction.commit().await?;
    Ok(views::restore_accepted(caller.profile))
}

/// Refuses paths that the backup does not have, as far as its index can be read at once. Otherwise
/// the job looks for them.
async fn refuse_missing(
    state: &ApiState,
    server: ServerId,
    backup: &Backup,
    paths: &RestorePaths,
) -> Result<(), ApiError> {
    let looked_up = tokio::time::timeout(LOOK_UP_TIME, first_missing(state, server, backup, paths));
    let Ok(Some(missing)) = looked_up.await else {
        return Ok(());
    };
    let given = paths.as_slice().iter();
    let number = given.clone().position(|path| path.as_bytes() == missing);
    let field = format!("paths.{}", number.unwrap_or_default());
    let missing = String::from_utf8_lossy(&missing);
    let detail = format!("The {field} is invalid: the backup has no `{missing}`.");
    Err(ApiError::violation(&field, "exists", detail))
}

/// Returns a path that the backup does not have; `None` also if its index cannot be read here.
async fn first_missing(
    state: &ApiState,
    server: ServerId,
    backup: &Backup,
    paths: &RestorePaths,
) -> Option<Vec<u8>> {
    let completed = backup.check_completed(BackupOperation::Restore).ok()?;
    if state.foreign_node(backup).is_some() {
        return None;
    }
    let disk = state.disks.get(&backup.disk).ok()?;
    let key = ArchiveKey {
        server,
        backup: backup.id,
        attempt: completed.attempt,
    };
    let permit = state.content_scans.permit().await.ok()?;
    let index = disk.read(StorageKey::Index(key), 0..u64::MAX).await.ok()?;
    let (index, paths) = (index.into_blocking(), paths.to_bytes());
    let look_up = move || {
        let missing = holdfast_archive::first_missing_path(index, &paths);
        // The thread goes on when the time is over, so it keeps the permit until here.
        drop(permit);
        missing
    };
    let missing = tokio::task::spawn_blocking(look_up).await.ok()?;
    missing.ok()?
}
