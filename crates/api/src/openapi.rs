//! The OpenAPI document, generated from the handlers and the objects that they answer with.

pub(crate) mod application;
pub(crate) mod words;

use std::collections::BTreeMap;

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, OpenApi as Document, Ref, RefOr, Required, Response, ResponseBuilder, Schema,
};
use utoipa::{IntoResponses, Modify, OpenApi, ToSchema};

use crate::handlers::application::{
    activity as operations, jobs, keys, nodes, servers, storage, subusers, users,
};
use crate::handlers::{activity, backups, files, health, metrics, panel};
use crate::views::objects::{ErrorEntry, Errors};

/// Every documented endpoint.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Holdfast",
        description = "Backups of game servers that can be restored. Speaks the Pterodactyl-style client API \
                       for backups, and an application API for panels."
    ),
    paths(
        backups::list, backups::create, backups::show, backups::delete, backups::download,
        backups::restore, backups::lock, backups::unlock, backups::rename, backups::cancel,
        backups::verify, backups::events, backups::contents, backups::contents_file,
        activity::list, panel::servers, panel::server, panel::account, files::download, health::alive, health::ready, metrics::metrics,
        users::list, users::create, users::show, users::change, users::delete,
        keys::list, keys::create, keys::revoke,
        servers::list, servers::create, servers::show, servers::change, servers::delete, servers::set_state,
        subusers::list, subusers::set, subusers::remove,
        operations::list, nodes::list, jobs::list, jobs::show, jobs::cancel, storage::by_disk, storage::by_server,
    ),
    components(schemas(Errors, ErrorEntry)),
    modifiers(&Key, &NoBodyWillDo, &OneName),
    tags(
        (name = "backups", description = "A server's backups; any `ptlc_` key of its owner, an administrator or a subuser"),
        (name = "panel", description = "What clients of a panel look at before they come to backups; any `ptlc_` key"),
        (name = "application", description = "Users, keys, servers, nodes, jobs and storage; a `ptla_` key of an administrator"),
        (name = "service", description = "Downloads by link, and health; no key"),
    )
)]
struct Api;

/// Returns the OpenAPI 3.1 document as JSON of several lines, ending with a line break.
pub fn openapi() -> String {
    let mut text = Api::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// How callers say who they are.
struct Key;

impl Modify for Key {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A key of 48 characters: `ptlc_…` for the client API, `ptla_…` for the application API"))
            .build();
        components.add_security_scheme("key", SecurityScheme::Http(bearer));
    }
}

/// Says that a body without required fields need not be there.
struct NoBodyWillDo;

impl Modify for NoBodyWillDo {
    fn modify(&self, document: &mut Document) {
        let schemas = document.components.as_ref().map(|parts| &parts.schemas);
        for item in document.paths.paths.values_mut() {
            let operations = [&mut item.post, &mut item.put, &mut item.patch];
            let bodies = operations.into_iter().flatten();
            for body in bodies.filter_map(|operation| operation.request_body.as_mut()) {
                let RefOr::T(body) = body else { continue };
                let mut contents = body.content.values();
                let needs_any = contents.any(|content| {
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
                if !needs_any {
                    body.required = Some(Required::False);
                }
            }
        }
    }
}

/// Gives an operation that a path takes with POST, too, a name of its own there.
struct OneName;

impl Modify for OneName {
    fn modify(&self, document: &mut Document) {
        for item in document.paths.paths.values_mut() {
            let others = [&item.get, &item.put].into_iter().flatten();
            let taken: Vec<_> = others.map(|other| other.operation_id.clone()).collect();
            let Some(post) = &mut item.post else { continue };
            if taken.contains(&post.operation_id)
                && let Some(name) = &mut post.operation_id
            {
                name.push_str("_by_post");
            }
        }
    }
}

/// The body of a request for a backup. Every field may be left out.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "only its shape is used: bodies are read field by field, generously"
)]
pub(crate) struct CreateBody {
    /// At most 191 characters; made from the time when there is none.
    #[schema(max_length = 191, example = "Before the update")]
    name: Option<String>,
    /// Patterns as in `.gitignore`, one a line, or an array of them.
    #[schema(example = "*.log\ncache/*")]
    ignored: Option<String>,
    /// Whether it is locked from the first; needs `backup.delete`.
    is_locked: Option<bool>,
}

/// The body of a request for a restore.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "only its shape is used: bodies are read field by field, generously"
)]
pub(crate) struct RestoreBody {
    /// Whether files that are not in the backup are removed; true when nothing is said.
    truncate: Option<bool>,
}

/// The body of a request to lock.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "only its shape is used: bodies are read field by field, generously"
)]
pub(crate) struct LockBody {
    /// Sets the lock instead of toggling it.
    is_locked: Option<bool>,
}

/// The body of a request for another name.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "only its shape is used: bodies are read field by field, generously"
)]
pub(crate) struct RenameBody {
    /// At most 191 characters, not blank.
    #[schema(min_length = 1, max_length = 191)]
    name: String,
}

/// What every endpoint that needs a key may answer.
pub(crate) struct Refusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(&[
            (
                "400",
                "The request makes no sense, or the state of the backup does not allow it",
            ),
            ("401", "No key, or a bad one"),
            ("403", "The key may not do this"),
            ("404", "Nothing of this name, or not for this key"),
            ("405", "The path has no such method"),
            (
                "409",
                "The state of the server, or what depends on it, does not allow it",
            ),
            ("413", "The body is too large"),
            ("422", "Fields break rules, each named"),
            ("429", "Too many requests, or backups, in too short a time"),
            ("500", "A defect of the service"),
            (
                "503",
                "The database or a disk is away; `Retry-After` says when to try again",
            ),
            (
                "507",
                "There is no room for a backup, on its disk or in the server's quota",
            ),
        ])
    }
}

/// What a download by link may answer instead of the archive.
pub(crate) struct LinkRefusals;

impl IntoResponses for LinkRefusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(&[
            ("403", "The link is invalid, expired, or its key has ended"),
            ("404", "The backup is gone"),
            ("405", "The path has no such method"),
            ("412", "An `If-…` header does not hold"),
            ("416", "The range lies outside of the archive"),
            ("500", "A defect of the service"),
            ("503", "The database or the disk is away"),
        ])
    }
}

fn responses(list: &[(&str, &str)]) -> BTreeMap<String, RefOr<Response>> {
    let content = || {
        ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("Errors")))
            .build()
    };
    list.iter()
        .map(|(status, description)| {
            let response = ResponseBuilder::new()
                .description(*description)
                .content("application/json", content())
                .build();
            ((*status).to_owned(), RefOr::T(response))
        })
        .collect()
}
