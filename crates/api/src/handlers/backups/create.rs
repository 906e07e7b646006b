//! `POST …/backups`: creates a backup and the job that makes its archive.

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use holdfast_db::backups::NewBackup;
use holdfast_db::jobs::NewJob;
use holdfast_db::{Transaction, backups, jobs, servers};
use holdfast_domain::access::Action;
use holdfast_domain::activity::ActivityEvent;
use holdfast_domain::estimate::{ExpectedSpace, NextArchive};
use holdfast_domain::ignore::IgnorePatterns;
use holdfast_domain::limit::{
    self, CreateLimits, CreateRefused, ServerBusy, ServerLoad, StorageBudget,
};
use holdfast_domain::{BackupId, BackupName, DiskName, JobKind, Server, ServerAccess};

use crate::auth::{Caller, permit};
use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::answers::Refusals;
use crate::openapi::bodies::CreateBody;
use crate::openapi::parameters::ServerPath;
use crate::state::{ApiOptions, ApiState};
use crate::views;
use crate::views::objects::BackupObject;

/// The number of attempts before the backup has failed.
const MAX_ATTEMPTS: u32 = 3;

/// Creates a backup.
#[utoipa::path(
    post,
    path = "/api/client/servers/{server}/backups",
    tag = "backups",
    params(ServerPath),
    request_body(content = CreateBody),
    responses(
        (
            status = 200,
            description = "The backup, which a worker will create",
            body = BackupObject
        ),
        Refusals,
    ),
    security(("key" = [])),
)]
pub(crate) async fn create(
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, access) = caller.server()?;
    permit(access, Action::Create)?;

    let fields = Fields::read(&request, payload).await?;
    let options = &state.options;
    let fields = BackupFields::take(fields, options.max_ignored_bytes, (state.now)())?;

    let limits = create_limits(&caller, server, &state.options);
    let disk = server.disk.as_ref().unwrap_or(state.disks.default_name());
    let largest = server.limits.max_backup_bytes;
    let next = NextArchive {
        disk,
        node: &server.node,
        is_full: fields.is_full,
        size_bytes_max: largest.unwrap_or(options.max_backup_bytes),
        reuse: options.reuse,
        reread_every: options.reread_every,
    };
    let expected = expected_space(&state, &caller, &next, &fields.ignored, &limits).await?;
    let (mut transaction, access, load) = begin(&state, &caller, &limits).await?;
    let backup = NewBackup {
        id: BackupId(Uuid::new_v4()),
        server: server.id,
        name: &fields.name,
        ignored_files: fields.ignored.lines(),
        disk,
        node: &server.node,
        reserved_bytes: expected.stored_bytes,
        // Without the permission to lock a backup, the field is ignored.
        is_locked: fields.is_locked && access.may(Action::Lock),
        is_full: fields.is_full,
        created_by: caller.user(),
        schedule: None,
        managed_by: None,
    };

    let budget =
        storage_budget(&mut transaction, server, backup.disk, &load, &state.options).await?;
    limit::check_space(expected, &budget).map_err(ApiError::Create)?;
    backups::insert(&mut transaction, &backup).await?;
    enqueue(&mut transaction, server, backup.id).await?;
    let event = ActivityEvent::Start;
    let properties = json!({ "locked": backup.is_locked });
    caller
        .record_event(&mut transaction, event, server.id, backup.id, &properties)
        .await?;
    // Read before the commit, so that the answer cannot fail after it.
    let created = backups::find_for_update(&mut transaction, server.id, backup.id)
        .await?
        .ok_or(ApiError::Internal)?;
    transaction.commit().await?;
    Ok(views::ok(&views::backup(&created, caller.profile)))
}

/// The fields of a request that creates a backup.
pub(crate) struct BackupFields {
    pub(crate) name: BackupName,
    pub(crate) ignored: IgnorePatterns,
    pub(crate) is_locked: bool,
    pub(crate) is_full: bool,
}

impl BackupFields {
    pub(crate) fn take(
        mut fields: Fields,
        max_ignored_bytes: usize,
        now: DateTime<Utc>,
    ) -> Result<Self, ApiError> {
        let name = fields.name();
        let ignored = fields.ignored(max_ignored_bytes);
        let is_locked = fields.is_locked().unwrap_or(false);
        let is_full = fields.is_full().unwrap_or(false);
        fields.check()?;
        Ok(Self {
            name: name.unwrap_or_else(|| BackupName::from_time(now)),
            ignored,
            is_locked,
            is_full,
        })
    }
}

/// Returns the limits for new backups of a server: its own, or those of the settings. The panel
/// decides how many backups its callers may make.
fn create_limits(caller: &Caller, server: &Server, options: &ApiOptions) -> CreateLimits {
    let own = server.limits.backups.unwrap_or(options.backups_per_server);
    CreateLimits {
        backups: caller.backup_limit().unwrap_or(own),
        throttle: options.create_throttle,
        rotate: server.limits.rotate,
    }
}

/// Begins the transaction, locks the server, and checks its state and its limits.
async fn begin(
    state: &ApiState,
    caller: &Caller,
    limits: &CreateLimits,
) -> Result<(Transaction, ServerAccess, ServerLoad), ApiError> {
    let (server, _) = caller.server()?;
    let (mut transaction, access) = caller.begin(state, Action::Create).await?;
    let load = servers::lock(&mut transaction, server.id, limits.throttle.seconds).await?;
    limit::check_create(&load, limits).map_err(ApiError::Create)?;
    Ok((transaction, access, load))
}

/// Returns the space that the backup is expected to need: by the latest archive, or else by an
/// estimate. It is 0 if it is unknown.
async fn expected_space(
    state: &ApiState,
    caller: &Caller,
    next: &NextArchive<'_>,
    ignored: &IgnorePatterns,
    limits: &CreateLimits,
) -> Result<ExpectedSpace, ApiError> {
    let (server, _) = caller.server()?;
    if let Some(latest) = backups::latest_archive(&state.database, server.id).await? {
        return Ok(next.expect_after(&latest));
    }
    // An estimate can take seconds, so a request that exceeds a limit is refused first.
    drop(begin(state, caller, limits).await?);
    let estimated = (state.estimate_size)(server.clone(), ignored.lines().to_vec()).await;
    Ok(next.expect(estimated.unwrap_or_default()))
}

/// Reads the free space of the disk, and what is left of the server's quota.
async fn storage_budget(
    transaction: &mut Transaction,
    server: &Server,
    disk: &DiskName,
    load: &ServerLoad,
    options: &ApiOptions,
) -> Result<StorageBudget, ApiError> {
    let (free_bytes, pending_bytes) =
        backups::free_and_reserved_bytes(transaction, &server.node, disk).await?;
    let quota_bytes = server.limits.quota_bytes;
    Ok(StorageBudget {
        free_bytes,
        pending_bytes,
        reserve_bytes: options.disk_reserve_bytes,
        quota_bytes: quota_bytes.unwrap_or(options.quota_bytes_per_server),
        archived_bytes: load.archived_bytes,
    })
}

/// Enqueues the job that makes the archive.
async fn enqueue(
    transaction: &mut Transaction,
    server: &Server,
    backup: BackupId,
) -> Result<(), ApiError> {
    let job = NewJob {
        kind: JobKind::CreateBackup,
        server: server.id,
        backup,
        node: &server.node,
        args: json!({}),
        max_attempts: MAX_ATTEMPTS,
        run: None,
    };
    match jobs::enqueue(transaction, &job).await {
        Ok(_) => Ok(()),
        Err(holdfast_db::Error::Conflict { .. }) => {
            Err(ApiError::Create(CreateRefused::Busy(ServerBusy::BackingUp)))
        }
        Err(other) => Err(other.into()),
    }
}
