//! Schemas of the words that a field may be, taken from where they are defined.

use utoipa::openapi::schema::{ArrayBuilder, Object, ObjectBuilder, Type};
use utoipa::openapi::{Array, RefOr, Schema};

use holdfast_domain::job::ServerBackupsAction;
use holdfast_domain::key::KeyKind;
use holdfast_domain::{JobKind, JobState, Permission, Profile, ServerState};

/// What a server is doing.
pub(crate) fn server_state() -> Object {
    one_of(ServerState::ALL.map(ServerState::as_str))
}

/// Which API a key opens.
pub(crate) fn key_kind() -> Object {
    one_of(KeyKind::ALL.map(KeyKind::as_str))
}

/// How the answers to a key are shaped.
pub(crate) fn profile() -> Object {
    one_of([Profile::Documented, Profile::Pterodactyl].map(Profile::as_str))
}

/// What a job does.
pub(crate) fn job_kind() -> Object {
    one_of(JobKind::ALL.map(JobKind::as_str))
}

/// Where a job stands.
pub(crate) fn job_state() -> Object {
    one_of(JobState::ALL.map(JobState::as_str))
}

/// What becomes of a deleted server's archives.
pub(crate) fn backups_fate() -> Object {
    one_of(ServerBackupsAction::ALL.map(ServerBackupsAction::as_str))
}

/// What a subuser may do.
pub(crate) fn permissions() -> Array {
    let permission = one_of(Permission::ALL.map(Permission::as_str));
    ArrayBuilder::new()
        .items(RefOr::T(Schema::Object(permission)))
        .build()
}

fn one_of<const N: usize>(words: [&'static str; N]) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(words))
        .build()
}
