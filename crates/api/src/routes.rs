//! The URLs of the service, each with its methods and its handler.

use actix_web::{Resource, Route, guard, web};

use crate::error::ApiError;
use crate::handlers::application::{
    activity as operator_activity, jobs, keys, nodes, servers, storage, subusers, users,
};
use crate::handlers::schedules::tasks;
use crate::handlers::{activity, backups, docs, files, health, metrics, node, panel, schedules};
use crate::metrics::{RoutePattern, RoutePrefix};
use crate::views::errors::NodeErrors;

/// Registers every route.
pub(crate) fn routes(app: &mut web::ServiceConfig) {
    app.service(backup_routes())
        .service(schedule_routes())
        .service(application_routes())
        .service(
            resource("/api/client/servers/{server}/activity", "GET, HEAD")
                .route(read().to(activity::list)),
        )
        .service(resource("/api/client", "GET, HEAD").route(read().to(panel::servers)))
        .service(resource("/api/client/account", "GET, HEAD").route(read().to(panel::account)))
        .service(
            resource("/api/client/servers/{server}", "GET, HEAD").route(read().to(panel::server)),
        )
        .service(resource("/download/backup", "GET, HEAD").route(read().to(files::download)))
        .service(resource("/api/openapi.json", "GET, HEAD").route(read().to(docs::openapi_json)))
        .service(resource("/api/docs", "GET, HEAD").route(read().to(docs::redirect_to_page)))
        .service(docs::page())
        .service(resource("/healthz", "GET, HEAD").route(read().to(health::alive)))
        .service(resource("/metrics", "GET, HEAD").route(read().to(metrics::metrics)))
        .service(resource("/readyz", "GET, HEAD").route(read().to(health::ready)))
        .default_service(web::to(|| async { Err::<&str, _>(ApiError::NotFound) }));
}

/// Registers the routes of a panel's node, beside those of the service.
pub(crate) fn node_routes(app: &mut web::ServiceConfig) {
    app.service(
        scope("/api/servers/{server}")
            .app_data(NodeErrors)
            .service(resource("/backup", "POST").route(web::post().to(node::create)))
            .service(resource("/backup/{backup}", "DELETE").route(web::delete().to(node::delete)))
            .service(
                resource("/backup/{backup}/restore", "POST").route(web::post().to(node::restore)),
            )
            .service(
                resource("/deleteAllBackups", "DELETE").route(web::delete().to(node::delete_all)),
            )
            .default_service(web::to(|| async { Err::<&str, _>(ApiError::NotFound) })),
    );
}

/// Registers the routes of a listener that answers only requests to a panel's node.
pub(crate) fn only_node_routes(app: &mut web::ServiceConfig) {
    app.configure(node_routes)
        .app_data(NodeErrors)
        .service(resource("/download/backup", "GET, HEAD").route(read().to(node::download)))
        .service(resource("/healthz", "GET, HEAD").route(read().to(health::alive)))
        .default_service(web::to(|| async { Err::<&str, _>(ApiError::NotFound) }));
}

/// Returns the routes of the backups of a server.
fn backup_routes() -> actix_web::Scope {
    scope("/api/client/servers/{server}/backups")
        .service(
            resource("", "GET, HEAD, POST")
                .route(read().to(backups::list))
                .route(web::post().to(backups::create)),
        )
        .service(resource("/events", "GET").route(web::get().to(backups::events)))
        .service(
            resource("/{backup}", "GET, HEAD, DELETE")
                .route(read().to(backups::show))
                .route(web::delete().to(backups::delete)),
        )
        .service(
            resource("/{backup}/download", "GET, HEAD, POST")
                .route(read().to(backups::download))
                .route(web::post().to(backups::download)),
        )
        .service(resource("/{backup}/contents", "GET, HEAD").route(read().to(backups::contents)))
        .service(
            resource("/{backup}/contents/file", "GET, HEAD")
                .route(read().to(backups::contents_file)),
        )
        .service(resource("/{backup}/restore", "POST").route(web::post().to(backups::restore)))
        .service(resource("/{backup}/lock", "POST").route(web::post().to(backups::lock)))
        .service(resource("/{backup}/rename", "PUT").route(web::put().to(backups::rename)))
        .service(resource("/{backup}/cancel", "POST").route(web::post().to(backups::cancel)))
        .service(resource("/{backup}/unlock", "POST").route(web::post().to(backups::unlock)))
        .service(resource("/{backup}/verify", "POST").route(web::post().to(backups::verify)))
}

/// Returns the routes of the schedules of a server.
fn schedule_routes() -> actix_web::Scope {
    scope("/api/client/servers/{server}/schedules")
        .service(
            resource("", "GET, HEAD, POST")
                .route(read().to(schedules::list))
                .route(web::post().to(schedules::create)),
        )
        .service(
            resource("/{schedule}", "GET, HEAD, POST, PATCH, DELETE")
                .route(read().to(schedules::show))
                .route(web::post().to(schedules::change))
                .route(web::patch().to(schedules::change_some))
                .route(web::delete().to(schedules::delete)),
        )
        .service(resource("/{schedule}/execute", "POST").route(web::post().to(schedules::execute)))
        .service(resource("/{schedule}/tasks", "POST").route(web::post().to(tasks::create)))
        .service(
            resource("/{schedule}/tasks/{task}", "POST, DELETE")
                .route(web::post().to(tasks::change))
                .route(web::delete().to(tasks::delete)),
        )
}

/// Returns the routes of the application API.
fn application_routes() -> actix_web::Scope {
    scope("/api/application")
        .service(
            resource("/users", "GET, HEAD, POST")
                .route(read().to(users::list))
                .route(web::post().to(users::create)),
        )
        .service(
            resource("/users/{user}", "GET, HEAD, PATCH, DELETE")
                .route(read().to(users::show))
                .route(web::patch().to(users::change))
                .route(web::delete().to(users::delete)),
        )
        .service(
            resource("/keys", "GET, HEAD, POST")
                .route(read().to(keys::list))
                .route(web::post().to(keys::create)),
        )
        .service(resource("/keys/{key}", "DELETE").route(web::delete().to(keys::revoke)))
        .service(
            resource("/servers", "GET, HEAD, POST")
                .route(read().to(servers::list))
                .route(web::post().to(servers::create)),
        )
        .service(
            resource("/servers/{server}", "GET, HEAD, PATCH, DELETE")
                .route(read().to(servers::show))
                .route(web::patch().to(servers::change))
                .route(web::delete().to(servers::delete)),
        )
        .service(
            resource("/servers/{server}/state", "PUT, POST")
                .route(web::put().to(servers::set_state))
                .route(web::post().to(servers::set_state)),
        )
        .service(
            resource("/servers/{server}/subusers", "GET, HEAD").route(read().to(subusers::list)),
        )
        .service(
            resource("/servers/{server}/subusers/{user}", "PUT, DELETE")
                .route(web::put().to(subusers::set))
                .route(web::delete().to(subusers::remove)),
        )
        .service(resource("/activity", "GET, HEAD").route(read().to(operator_activity::list)))
        .service(resource("/nodes", "GET, HEAD").route(read().to(nodes::list)))
        .service(resource("/jobs", "GET, HEAD").route(read().to(jobs::list)))
        .service(resource("/jobs/{job}", "GET, HEAD").route(read().to(jobs::show)))
        .service(resource("/jobs/{job}/cancel", "POST").route(web::post().to(jobs::cancel)))
        .service(resource("/storage", "GET, HEAD").route(read().to(storage::by_disk)))
        .service(resource("/storage/servers", "GET, HEAD").route(read().to(storage::by_server)))
}

/// Returns a group of routes with a common prefix. The prefix becomes a part of the metrics' label
/// `route`.
fn scope(path: &'static str) -> actix_web::Scope {
    web::scope(path).app_data(RoutePrefix(path))
}

/// Returns a resource that answers methods outside `allow` with 405 and the header `Allow`.
fn resource(path: &'static str, allow: &'static str) -> Resource {
    web::resource(path)
        .app_data(RoutePattern(path))
        .default_service(web::to(move |request: actix_web::HttpRequest| async move {
            let method = request.method().to_string();
            Err::<&str, _>(ApiError::MethodNotAllowed { method, allow })
        }))
}

/// Returns a route for GET and HEAD.
fn read() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}
