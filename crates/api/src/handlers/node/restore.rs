//! `POST /api/servers/{server}/backup/{backup}/restore`: restores the server's files for the panel.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use holdfast_db::jobs::NewJob;
use holdfast_db::{activity, backups, jobs};
use holdfast_domain::JobKind;
use holdfast_domain::activity::ActivityEvent;
use holdfast_domain::backup::BackupOperation;
use holdfast_domain::job::RestoreArgs;

use super::{ADAPTER, backup_id, recover, server, server_id};
use crate::error::{ApiError, NodeRefused};
use crate::input::Fields;
use crate::panel_request::PanelRequest;
use crate::state::ApiState;

/// Restores a backup for the panel, which is told of every outcome. Waits for other jobs of the
/// server. The same request again changes nothing while the restore is unfinished.
///
/// The field `download_url` is for archives that the panel stores. It is never fetched.
pub(crate) async fn restore(
    panel: PanelRequest,
    path: web::Path<(String, String)>,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let server = server_id(&path.0)?;
    let backup = backup_id(&path.1)?;
    let mut fields = Fields::read(&request, payload).await?;
    if fields.text("adapter", 191).as_deref() != Some(ADAPTER) {
        return Err(ApiError::Node(NodeRefused::BackupUnknown));
    }
    let truncate = fields.flag("truncate_directory").unwrap_or(false);
    fields.check()?;

    recover::find(&state, &panel.node, server, backup).await?;
    let mut transaction = state.database.begin().await?.with_trace(panel.trace);
    let server = server::lock_or_register(&state, &panel.node, &mut transaction, server).await?;
    let known = backups::find_for_panel(&mut transaction, backup).await?;
    if known.is_none_or(|known| known.is_deleting) {
        return Err(ApiError::Node(NodeRefused::BackupUnknown));
    }
    let found = backups::find_for_update(&mut transaction, server.id, backup).await?;
    let found = found.ok_or(ApiError::Node(NodeRefused::BackupUnknown))?;
    found
        .check_completed(BackupOperation::Restore)
        .map_err(ApiError::NotCompleted)?;
    if jobs::find_deletion(&mut transaction, backup)
        .await?
        .is_some()
    {
        return Err(ApiError::Node(NodeRefused::BackupUnknown));
    }
    if jobs::has_panel_restore(&mut transaction, server.id, backup).await? {
        return Ok(HttpResponse::Accepted().finish());
    }
    let args = json!(RestoreArgs {
        truncate,
        paths: None,
        panel: true,
    });
    let job = NewJob {
        kind: JobKind::RestoreBackup,
        server: server.id,
        backup,
        node: &server.node,
        args: args.clone(),
        max_attempts: NewJob::MAX_ATTEMPTS,
        run: None,
    };
    jobs::enqueue_or_wait(&mut transaction, &job).await?;
    let event = ActivityEvent::Restore;
    activity::record(&mut transaction, event, server.id, backup, None, &args).await?;
    transaction.commit().await?;
    Ok(HttpResponse::Accepted().finish())
}
