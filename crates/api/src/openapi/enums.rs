//! The schemas of fields whose values are those of an enum in `holdfast-domain`.

use utoipa::openapi::schema::{ArrayBuilder, Object, ObjectBuilder, Type};
use utoipa::openapi::{Array, RefOr, Schema};

use holdfast_domain::job::ServerBackupsAction;
use holdfast_domain::key::KeyKind;
use holdfast_domain::schedule::{MissedPolicy, TaskActionKind};
use holdfast_domain::{JobKind, JobState, Permission, Profile, ServerState};

/// Returns the schema of a server's state.
pub(crate) fn server_state() -> Object {
    one_of(ServerState::ALL.map(ServerState::as_str))
}

/// Returns the schema of a key's kind.
pub(crate) fn key_kind() -> Object {
    one_of(KeyKind::ALL.map(KeyKind::as_str))
}

/// Returns the schema of a key's profile.
pub(crate) fn profile() -> Object {
    one_of([Profile::Documented, Profile::Pterodactyl].map(Profile::as_str))
}

/// Returns the schema of a job's kind.
pub(crate) fn job_kind() -> Object {
    one_of(JobKind::ALL.map(JobKind::as_str))
}

/// Returns the schema of a job's state.
pub(crate) fn job_state() -> Object {
    one_of(JobState::ALL.map(JobState::as_str))
}

/// Returns the schema of the choice between deleting and keeping the archives of a server.
pub(crate) fn backups_fate() -> Object {
    one_of(ServerBackupsAction::ALL.map(ServerBackupsAction::as_str))
}

/// Returns the schema of what happens to missed due times.
pub(crate) fn missed_policy() -> Object {
    one_of(MissedPolicy::ALL.map(MissedPolicy::as_str))
}

/// Returns the schema of what a task does.
pub(crate) fn task_action() -> Object {
    one_of(TaskActionKind::ALL.map(TaskActionKind::as_str))
}

/// Returns the schema of a subuser's permissions.
pub(crate) fn permissions() -> Array {
    let permission = one_of(Permission::ALL.map(Permission::as_str));
    ArrayBuilder::new()
        .items(RefOr::T(Schema::Object(permission)))
        .build()
}

fn one_of<const N: usize>(values: [&'static str; N]) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(values))
        .build()
}
