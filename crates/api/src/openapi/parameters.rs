//! The path and query parameters that endpoints have in common.
#![expect(
    dead_code,
    reason = "only the shapes are used: handlers read parameters one by one"
)]

use utoipa::IntoParams;

use super::enums;

/// The path of a server.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct ServerPath {
    /// UUID of the server, or the eight characters before its first dash
    server: String,
}

/// The path of a backup.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct BackupPath {
    /// UUID of the server, or the eight characters before its first dash
    server: String,
    /// UUID of the backup
    backup: String,
}

/// The path of a schedule.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct SchedulePath {
    /// UUID of the server, or the eight characters before its first dash
    server: String,
    /// Number of the schedule
    #[param(minimum = 1)]
    schedule: i64,
}

/// The path of a task.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct TaskPath {
    /// UUID of the server, or the eight characters before its first dash
    server: String,
    /// Number of the schedule
    #[param(minimum = 1)]
    schedule: i64,
    /// Number of the task, its `id`
    #[param(minimum = 1)]
    task: i64,
}

/// The path of a user.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct UserPath {
    /// UUID or email address of the user
    user: String,
}

/// The path of a subuser.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct SubuserPath {
    /// UUID of the server, or the eight characters before its first dash
    server: String,
    /// UUID or email address of the user
    user: String,
}

/// The path of a key.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct KeyPath {
    /// The identifier of the key: its first sixteen characters
    key: String,
}

/// The path of a job.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct JobPath {
    /// Number of the job
    #[param(minimum = 1)]
    job: i64,
}

/// The page of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// Number of the page, from 1. Values that are not a number mean 1.
    page: Option<String>,
    /// Entries per page, 1 to 100. Values that are not a number mean 25.
    per_page: Option<String>,
}

/// The filters of the list of jobs.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobQuery {
    /// Only jobs of this server: its UUID, or the eight characters before its first dash.
    server: Option<String>,
    /// Only jobs of this kind.
    #[param(schema_with = enums::job_kind, required = false)]
    kind: Option<String>,
    /// Only jobs in this state.
    #[param(schema_with = enums::job_state, required = false)]
    state: Option<String>,
}

/// The query of a request that deletes a server.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteServerQuery {
    /// `delete` removes the archives; `keep` leaves them on their disks.
    #[param(schema_with = enums::backups_fate, required = true)]
    backups: String,
}
