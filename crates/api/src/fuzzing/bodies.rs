//! The bodies and queries of requests, as their handlers read them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use actix_web::ResponseError as _;
use actix_web::body::MessageBody as _;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use holdfast_domain::job::ServerBackupsAction;
use holdfast_domain::key::ApiKey;
use holdfast_domain::limit::Throttle;
use holdfast_domain::schedule::{PowerSupport, ScheduleSettings, ScheduleTask, Timezone};
use holdfast_domain::server::ServerLimits;
use holdfast_domain::{
    DirectoryRules, DirectorySetBy, DiskName, JobKind, JobState, NodeName, Permission, Server,
    ServerId, ServerRef, ServerState, UserId, UserRef,
};
use holdfast_storage::{Disk, Disks};

use crate::AllowedHosts;
use crate::error::ApiError;
use crate::handlers::application::keys::{KeyFields, generate};
use crate::handlers::application::servers::ServerFields;
use crate::handlers::backups::BackupFields;
use crate::handlers::schedules::ScheduleFields;
use crate::handlers::schedules::tasks::TaskFields;
use crate::input::Fields;
use crate::state::ApiOptions;

/// The largest total length of ignore patterns, in bytes.
pub const MAX_IGNORED_BYTES: usize = 32 << 10;

/// An answer that refuses a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The body of the answer.
    pub answer: Vec<u8>,
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        let response = error.error_response();
        Self {
            status: response.status().as_u16(),
            answer: response
                .into_body()
                .try_into_bytes()
                .map(|bytes| bytes.to_vec())
                .unwrap_or_default(),
        }
    }
}

/// The fields of a request that creates a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupBody {
    /// The name.
    pub name: String,
    /// The ignore patterns.
    pub ignored: Vec<String>,
    /// Whether it is locked.
    pub is_locked: bool,
    /// Whether it reads and packs every file.
    pub is_full: bool,
}

/// The time of every request.
fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// `POST …/backups`.
///
/// # Errors
/// The refusal.
pub fn create_backup(body: &[u8], content_type: &str) -> Result<BackupBody, Refusal> {
    let fields = Fields::parse(body, content_type)?;
    let taken = BackupFields::take(fields, MAX_IGNORED_BYTES, now())?;
    Ok(BackupBody {
        name: taken.name.as_str().to_owned(),
        ignored: taken.ignored.lines().to_vec(),
        is_locked: taken.is_locked,
        is_full: taken.is_full,
    })
}

/// `PUT …/rename`.
///
/// # Errors
/// The refusal.
pub fn rename(body: &[u8], content_type: &str) -> Result<String, Refusal> {
    let mut fields = Fields::parse(body, content_type)?;
    let name = fields.required_name();
    fields.check()?;
    Ok(name.ok_or(ApiError::Internal)?.as_str().to_owned())
}

/// `POST …/restore`: whether to truncate. The paths are parsed, too.
///
/// # Errors
/// The refusal.
pub fn restore(
    body: &[u8],
    content_type: &str,
    query: &str,
    is_required: bool,
) -> Result<Option<bool>, Refusal> {
    let mut fields = Fields::parse(body, content_type)?.with_query(query);
    let truncate = fields.truncate(is_required);
    fields.restore_paths();
    fields.check()?;
    Ok(truncate)
}

/// `POST …/lock`.
///
/// # Errors
/// The refusal.
pub fn lock(body: &[u8], content_type: &str) -> Result<Option<bool>, Refusal> {
    let mut fields = Fields::parse(body, content_type)?;
    let is_locked = fields.is_locked();
    fields.check()?;
    Ok(is_locked)
}

/// `POST …/schedules`: the schedule as it would be stored.
///
/// # Errors
/// The refusal.
pub fn schedule(body: &[u8], content_type: &str) -> Result<ScheduleSettings, Refusal> {
    let fields = Fields::parse(body, content_type)?;
    let taken = ScheduleFields::take(fields)?;
    Ok(taken.settings(None, options().timezone))
}

/// `POST …/schedules/{schedule}/tasks`: the task, and its number.
///
/// # Errors
/// The refusal.
pub fn schedule_task(
    body: &[u8],
    content_type: &str,
) -> Result<(ScheduleTask, Option<u32>), Refusal> {
    let fields = Fields::parse(body, content_type)?;
    let taken = TaskFields::take(fields, MAX_IGNORED_BYTES)?;
    Ok((taken.task, taken.sequence))
}

/// The disks that servers may use: `local` and `other`.
fn disks() -> &'static Disks {
    static DISKS: OnceLock<Disks> = OnceLock::new();
    DISKS.get_or_init(|| {
        let folder = std::env::temp_dir().join("holdfast-fuzz-disks");
        let disks: BTreeMap<_, _> = ["local", "other"]
            .map(|name| DiskName::parse(name).expect("a name"))
            .map(|name| {
                let disk = Disk::local(name.clone(), &folder.join(name.as_str())).expect("a disk");
                (name, disk)
            })
            .into();
        Disks::new(disks, DiskName::parse("local").expect("a name")).expect("disks")
    })
}

/// The settings of the API: servers must be below `/srv`, and not in `/srv/backups`.
fn options() -> &'static ApiOptions {
    static OPTIONS: OnceLock<ApiOptions> = OnceLock::new();
    let local = || DiskName::parse("local").expect("a name");
    OPTIONS.get_or_init(|| ApiOptions {
        public_url: None,
        downloads_public_url: None,
        downloads_accel_path: None,
        trusted_proxies: Vec::new(),
        allowed_hosts: AllowedHosts::default(),
        max_body_bytes: 1 << 20,
        request_timeout: Duration::from_secs(1),
        keep_alive: Duration::from_secs(1),
        max_connections: 1,
        hsts_seconds: 0,
        backups_per_server: 1,
        create_throttle: Throttle {
            count: 0,
            seconds: 0,
        },
        reuse: true,
        reread_every: 14,
        max_backup_bytes: 1,
        quota_bytes_per_server: 0,
        disk_reserve_bytes: 0,
        max_ignored_bytes: MAX_IGNORED_BYTES,
        download_ttl_seconds: 1,
        timezone: Timezone::UTC,
        power_support: PowerSupport::All,
        node: NodeName::parse("node").expect("a name"),
        directory_rules: DirectoryRules {
            roots: vec![PathBuf::from("/srv")],
            disks: [(local(), PathBuf::from("/srv/backups"))].into(),
            wings_data: None,
        },
        wings: None,
        wings_has_listener: false,
    })
}

/// `POST /servers`: the server as it would be stored, except for its owner.
///
/// # Errors
/// The refusal.
pub fn server(body: &[u8], content_type: &str) -> Result<Server, Refusal> {
    let mut fields = Fields::parse(body, content_type)?;
    let id = fields.uuid("uuid").unwrap_or_default();
    let taken = ServerFields::take_without_owner(&mut fields, &options().directory_rules, disks());
    fields.check()?;
    let mut server = Server {
        id: ServerId(id),
        owner: None,
        name: String::new(),
        directory: PathBuf::new(),
        node: options().node.clone(),
        directory_set_by: DirectorySetBy::Application,
        disk: None,
        state: ServerState::Normal,
        limits: ServerLimits::default(),
        created_at: now(),
        managed_by: None,
        absent_since: None,
    };
    taken.apply(&mut server, options());
    Ok(server)
}

/// `PUT /servers/{server}/state`.
///
/// # Errors
/// The refusal.
pub fn server_state(body: &[u8], content_type: &str) -> Result<ServerState, Refusal> {
    let mut fields = Fields::parse(body, content_type)?;
    let states = ServerState::ALL.map(ServerState::as_str);
    let state = fields.one_of("state", &states, ServerState::parse);
    fields.require("state", state.as_ref());
    fields.check()?;
    Ok(state.ok_or(ApiError::Internal)?)
}

/// `POST /keys`: the key as it would be stored, except for its user.
///
/// # Errors
/// The refusal.
pub fn application_key(body: &[u8], content_type: &str) -> Result<ApiKey, Refusal> {
    let fields = Fields::parse(body, content_type)?;
    let taken = KeyFields::take_for_user(fields, Some(UserId(Uuid::nil())), now())?;
    Ok(generate(taken, now()).0)
}

/// `POST /users`: the email address, and whether the user is an administrator.
///
/// # Errors
/// The refusal.
pub fn user(body: &[u8], content_type: &str) -> Result<(String, bool), Refusal> {
    let mut fields = Fields::parse(body, content_type)?;
    let email = fields.email("email");
    fields.require("email", email.as_ref());
    let is_admin = fields.flag("admin").unwrap_or(false);
    fields.check()?;
    Ok((
        email.ok_or(ApiError::Internal)?.as_str().to_owned(),
        is_admin,
    ))
}

/// `PUT …/subusers/{user}`.
///
/// # Errors
/// The refusal.
pub fn subuser(body: &[u8], content_type: &str) -> Result<Vec<Permission>, Refusal> {
    let mut fields = Fields::parse(body, content_type)?;
    let names = Permission::ALL.map(Permission::as_str).join(", ");
    let expected = format!("one of {names}");
    let permissions = fields.list("permissions", "in", &expected, Permission::parse);
    fields.require("permissions", permissions.as_ref());
    fields.check()?;
    Ok(permissions.ok_or(ApiError::Internal)?)
}

/// The query of `GET /jobs`: whose jobs, of which kind, in which state.
pub type JobQuery = (Option<ServerRef>, Option<JobKind>, Option<JobState>);

/// `GET /jobs`.
///
/// # Errors
/// The refusal.
pub fn job_query(query: &str) -> Result<JobQuery, Refusal> {
    let mut fields = Fields::from_query(query);
    let server = fields.parsed("server", "exists", "a server", ServerRef::parse);
    let kind = fields.one_of("kind", &JobKind::ALL.map(JobKind::as_str), JobKind::parse);
    let states = JobState::ALL.map(JobState::as_str);
    let state = fields.one_of("state", &states, JobState::parse);
    fields.parsed("owner", "exists", "a user", UserRef::parse);
    fields.check()?;
    Ok((server, kind, state))
}

/// `DELETE /servers/{server}`.
///
/// # Errors
/// The refusal.
pub fn delete_server_query(query: &str) -> Result<ServerBackupsAction, Refusal> {
    let mut fields = Fields::from_query(query);
    let choices = ServerBackupsAction::ALL.map(ServerBackupsAction::as_str);
    let backups = fields.one_of("backups", &choices, ServerBackupsAction::parse);
    fields.require("backups", backups.as_ref());
    fields.check()?;
    Ok(backups.ok_or(ApiError::Internal)?)
}
