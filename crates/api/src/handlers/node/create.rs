//! `POST /api/servers/{server}/backup`: creates a backup under the UUID that the panel has chosen.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use holdfast_db::backups::NewBackup;
use holdfast_db::jobs::NewJob;
use holdfast_db::{activity, backups, jobs};
use holdfast_domain::activity::ActivityEvent;
use holdfast_domain::estimate::NextArchive;
use holdfast_domain::server::ServerManager;
use holdfast_domain::{BackupId, BackupName, JobKind, Server};

use super::{ADAPTER, server, server_id};
use crate::error::{ApiError, NodeRefused};
use crate::input::Fields;
use crate::panel_request::PanelRequest;
use crate::state::ApiState;

/// Creates a backup for the panel. The same request again changes nothing.
///
/// The limits are the panel's, so no limit of this service applies. The panel does not know that
/// only one job at a time may use a server, so the backup waits for others instead of being
/// refused.
pub(crate) async fn create(
    panel: PanelRequest,
    path: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let server = server_id(&path)?;
    let mut fields = Fields::read(&request, payload).await?;
    if fields.text("adapter", 191).as_deref() != Some(ADAPTER) {
        return Err(ApiError::Node(NodeRefused::BackupUnknown));
    }
    let backup = fields.uuid("uuid").map(BackupId);
    fields.require("uuid", backup.as_ref());
    let ignored = fields.ignored_in(&["ignore"], state.options.max_ignored_bytes);
    fields.check()?;
    let backup = backup.ok_or(ApiError::Internal)?;

    let mut transaction = state.database.begin().await?.with_trace(panel.trace);
    let server = server::lock_or_register(&state, &panel.node, &mut transaction, server).await?;
    if let Some(known) = backups::find_for_panel(&mut transaction, backup).await? {
        return match known.server == server.id && !known.is_deleting {
            true => Ok(HttpResponse::Accepted().finish()),
            false => Err(ApiError::Node(NodeRefused::Conflict(
                "There is already another backup with this UUID.",
            ))),
        };
    }
    let disk = server.disk.as_ref().unwrap_or(state.disks.default_name());
    let latest = backups::latest_archive_in(&mut transaction, server.id).await?;
    let reserved_bytes = latest.map_or(0, |latest| {
        let next = next_archive(&state, &server);
        next.expect_after(&latest).stored_bytes
    });
    let name = BackupName::from_time((state.now)());
    let new = NewBackup {
        id: backup,
        server: server.id,
        name: &name,
        ignored_files: ignored.lines(),
        disk,
        node: &server.node,
        reserved_bytes,
        is_locked: false,
        is_full: false,
        created_by: None,
        schedule: None,
        managed_by: Some(ServerManager::Wings),
    };
    backups::insert(&mut transaction, &new).await?;
    let job = NewJob {
        kind: JobKind::CreateBackup,
        server: server.id,
        backup,
        node: &server.node,
        args: json!({}),
        max_attempts: NewJob::MAX_ATTEMPTS,
        run: None,
    };
    jobs::enqueue_or_wait(&mut transaction, &job).await?;
    let properties = json!({ "locked": false, "panel": true });
    let event = ActivityEvent::Start;
    activity::record(
        &mut transaction,
        event,
        server.id,
        backup,
        None,
        &properties,
    )
    .await?;
    transaction.commit().await?;
    Ok(HttpResponse::Accepted().finish())
}

fn next_archive<'a>(state: &'a ApiState, server: &'a Server) -> NextArchive<'a> {
    let options = &state.options;
    NextArchive {
        disk: server.disk.as_ref().unwrap_or(state.disks.default_name()),
        node: &server.node,
        is_full: false,
        size_bytes_max: server
            .limits
            .max_backup_bytes
            .unwrap_or(options.max_backup_bytes),
        reuse: options.reuse,
        reread_every: options.reread_every,
    }
}
