//! `POST …/backups`: asks for a backup.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use uuid::Uuid;

use holdfast_db::backups::NewBackup;
use holdfast_db::jobs::NewJob;
use holdfast_db::{activity, backups, jobs, servers};
use holdfast_domain::access::Action;
use holdfast_domain::activity::ActivityEvent;
use holdfast_domain::limit::{self, CreateLimits, CreateRefused, ServerBusy, StorageBudget};
use holdfast_domain::{BackupId, BackupName, JobKind};

use crate::auth::{Caller, permit};
use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::{CreateBody, Refusals};
use crate::state::ApiState;
use crate::views;
use crate::views::objects::BackupObject;

/// How often a backup is tried before it has failed.
const MAX_ATTEMPTS: u32 = 3;

/// Asks for a backup.
#[utoipa::path(
    post,
    path = "/api/client/servers/{server}/backups",
    tag = "backups",
    params(
        ("server" = String, Path, description = "UUID of the server, or the eight characters before its first dash"),
    ),
    request_body(content = CreateBody),
    responses((status = 200, description = "The backup, which a worker is making", body = BackupObject), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn create(
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, standing) = caller.server()?;
    permit(standing, Action::Create)?;

    let mut fields = Fields::read(&request, payload, state.options.max_body_bytes).await?;
    let name = fields.name();
    let ignored = fields.ignored(state.options.max_ignored_bytes);
    // Who could not lock it afterwards can't lock it from the first either.
    let is_locked = fields.is_locked().unwrap_or(false) && standing.may(Action::Lock);
    fields.check()?;
    let name = name.unwrap_or_else(|| BackupName::from_time((state.now)()));

    let disk = server.disk.as_ref().unwrap_or(state.disks.default_name());
    let throttle = state.options.create_throttle;
    let backups = server
        .limits
        .backups
        .unwrap_or(state.options.backups_per_server);
    let allowance = CreateLimits {
        backups,
        throttle,
        rotate: server.limits.rotate,
    };
    let expected_bytes = match backups::expected_bytes(&state.database, server.id).await? {
        Some(last) => Some(last),
        None => {
            // Measuring takes its time: not before what is refused for another reason is refused.
            let mut transaction = state.database.begin().await?;
            let load = servers::lock(&mut transaction, server.id, throttle.seconds).await?;
            drop(transaction);
            limit::check_create(&load, &allowance).map_err(ApiError::Create)?;
            (state.measure)(server.clone(), ignored.lines().to_vec()).await
        }
    };
    // As many as the last archive had, or at most as many as there are to read, and no more than it may have.
    let most_bytes = server.limits.max_backup_bytes;
    let expected_bytes = expected_bytes
        .unwrap_or_default()
        .min(most_bytes.unwrap_or(state.options.max_backup_bytes));

    let mut transaction = state.database.begin().await?.with_trace(caller.trace);
    let load = servers::lock(&mut transaction, server.id, throttle.seconds).await?;
    limit::check_create(&load, &allowance).map_err(ApiError::Create)?;
    let (free_bytes, promised_bytes) =
        backups::free_and_reserved_bytes(&mut transaction, &server.node, disk).await?;
    let space = StorageBudget {
        free_bytes,
        pending_bytes: promised_bytes,
        reserve_bytes: state.options.disk_reserve_bytes,
        quota_bytes: server
            .limits
            .quota_bytes
            .unwrap_or(state.options.quota_bytes_per_server),
        archived_bytes: load.archived_bytes,
    };
    limit::check_space(expected_bytes, &space).map_err(ApiError::Create)?;

    let id = BackupId(Uuid::new_v4());
    let backup = NewBackup {
        id,
        server: server.id,
        name: &name,
        ignored_files: ignored.lines(),
        disk,
        node: &server.node,
        reserved_bytes: expected_bytes,
        is_locked,
        created_by: caller.user,
    };
    backups::insert(&mut transaction, &backup).await?;
    let job = NewJob {
        kind: JobKind::CreateBackup,
        server: server.id,
        backup: id,
        node: &server.node,
        args: json!({}),
        max_attempts: MAX_ATTEMPTS,
    };
    jobs::enqueue(&mut transaction, &job)
        .await
        .map_err(|error| match error {
            holdfast_db::Error::Conflict { .. } => {
                ApiError::Create(CreateRefused::Busy(ServerBusy::BackingUp))
            }
            other => other.into(),
        })?;
    let origin = caller.origin();
    activity::record(
        &mut transaction,
        ActivityEvent::Start,
        server.id,
        id,
        Some(&origin),
        &json!({ "locked": is_locked }),
    )
    .await?;
    // Read before the commit: once it is true, nothing may fail the answer.
    let created = backups::lock(&mut transaction, server.id, id)
        .await?
        .ok_or(ApiError::Internal)?;
    transaction.commit().await?;
    Ok(views::ok(&views::backup(&created, caller.profile)))
}
