//! The OpenAPI document, generated from the handlers and the objects of their answers.
//!
//! The submodules describe what handlers have in common; they must not import handlers.

pub(crate) mod answers;
pub(crate) mod application_bodies;
pub(crate) mod bodies;
pub(crate) mod enums;
pub(crate) mod parameters;
pub(crate) mod schedule_bodies;

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, RefOr, Required, Schema};
use utoipa::{Modify, OpenApi};

use crate::handlers::application::{
    activity as operator_activity, jobs, keys, nodes, servers, storage, subusers, users,
};
use crate::handlers::schedules::tasks;
use crate::handlers::{activity, backups, files, health, metrics, panel, schedules};
use crate::views::objects::{ErrorEntry, Errors};

/// The documented endpoints.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Holdfast",
        description = "Backup service for game servers. It has the Pterodactyl-style client API \
                       for backups and schedules, and an application API for panels."
    ),
    paths(
        backups::list, backups::create, backups::show, backups::delete, backups::download,
        backups::restore, backups::lock, backups::unlock, backups::rename, backups::cancel,
        backups::verify, backups::events, backups::contents, backups::contents_file,
        schedules::list, schedules::create, schedules::show, schedules::change,
        schedules::change_some, schedules::execute, schedules::delete, tasks::create, tasks::change,
        tasks::delete,
        activity::list, panel::servers, panel::server, panel::account, files::download,
        health::alive, health::ready, metrics::metrics,
        users::list, users::create, users::show, users::change, users::delete,
        keys::list, keys::create, keys::revoke,
        servers::list, servers::create, servers::show, servers::change, servers::delete,
        servers::set_state,
        subusers::list, subusers::set, subusers::remove,
        operator_activity::list, nodes::list, jobs::list, jobs::show, jobs::cancel,
        storage::by_disk, storage::by_server,
    ),
    components(schemas(Errors, ErrorEntry)),
    modifiers(&KeyScheme, &OptionalBodies, &UniqueOperationIds),
    tags(
        (
            name = "backups",
            description = "The backups of a server. Needs a `ptlc_` key of its owner, of a subuser \
                           or of an administrator"
        ),
        (
            name = "schedules",
            description = "When a server's tasks run. Needs a `ptlc_` key of its owner, of a \
                           subuser or of an administrator"
        ),
        (
            name = "panel",
            description = "The account and its servers, as clients of a panel expect them. Needs a \
                           `ptlc_` key"
        ),
        (
            name = "application",
            description = "Users, keys, servers, nodes, jobs and storage. Needs a `ptla_` key of \
                           an administrator"
        ),
        (name = "service", description = "Downloads by link, health and metrics. Needs no key"),
    )
)]
struct Api;

/// Returns the OpenAPI 3.1 document as indented JSON, with a line break at the end.
pub fn openapi() -> String {
    let mut text = Api::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// Adds the security scheme of keys.
struct KeyScheme;

impl Modify for KeyScheme {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "A key of 48 characters: `ptlc_…` for the client API, `ptla_…` for the \
                 application API",
            ))
            .build();
        components.add_security_scheme("key", SecurityScheme::Http(bearer));
    }
}

/// Marks bodies without required fields as optional.
struct OptionalBodies;

impl Modify for OptionalBodies {
    fn modify(&self, document: &mut Document) {
        let schemas = document.components.as_ref().map(|parts| &parts.schemas);
        for item in document.paths.paths.values_mut() {
            let operations = [&mut item.post, &mut item.put, &mut item.patch];
            let bodies = operations.into_iter().flatten();
            for body in bodies.filter_map(|operation| operation.request_body.as_mut()) {
                let RefOr::T(body) = body else { continue };
                let mut contents = body.content.values();
                let is_required = contents.any(|content| {
                    let RefOr::T(content) = content else {
                        return true;
                    };
                    let Some(RefOr::Ref(schema)) = &content.schema else {
                        return true;
                    };
                    let name = schema.ref_location.rsplit('/').next().unwrap_or_default();
                    match schemas.and_then(|schemas| schemas.get(name)) {
                        Some(RefOr::T(Schema::Object(object))) => !object.required.is_empty(),
                        _ => true,
                    }
                });
                if !is_required {
                    body.required = Some(Required::False);
                }
            }
        }
    }
}

/// Makes the ID of an operation unique if its path supports it with POST as well.
struct UniqueOperationIds;

impl Modify for UniqueOperationIds {
    fn modify(&self, document: &mut Document) {
        for item in document.paths.paths.values_mut() {
            let others = [&item.get, &item.put].into_iter().flatten();
            let used: Vec<_> = others.map(|other| other.operation_id.clone()).collect();
            let Some(post) = &mut item.post else { continue };
            if used.contains(&post.operation_id)
                && let Some(id) = &mut post.operation_id
            {
                id.push_str("_by_post");
            }
        }
    }
}
