//! Every URL of the service, on one page.

use actix_web::{Resource, Route, guard, web};

use crate::error::ApiError;
use crate::handlers::application::{jobs, keys, nodes, servers, storage, subusers, users};
use crate::handlers::{backups, files, health};

/// Registers every route.
pub(crate) fn routes(app: &mut web::ServiceConfig) {
    app.service(
        web::scope("/api/client/servers/{server}/backups")
            .service(
                resource("")
                    .route(read().to(backups::list))
                    .route(web::post().to(backups::create)),
            )
            .service(
                resource("/{backup}")
                    .route(read().to(backups::show))
                    .route(web::delete().to(backups::delete)),
            )
            .service(
                resource("/{backup}/download")
                    .route(read().to(backups::download))
                    .route(web::post().to(backups::download)),
            )
            .service(resource("/{backup}/restore").route(web::post().to(backups::restore)))
            .service(resource("/{backup}/lock").route(web::post().to(backups::lock)))
            .service(resource("/{backup}/unlock").route(web::post().to(backups::unlock))),
    )
    .service(
        web::scope("/api/application")
            .service(
                resource("/users")
                    .route(read().to(users::list))
                    .route(web::post().to(users::create)),
            )
            .service(
                resource("/users/{user}")
                    .route(read().to(users::show))
                    .route(web::patch().to(users::change))
                    .route(web::delete().to(users::delete)),
            )
            .service(
                resource("/keys")
                    .route(read().to(keys::list))
                    .route(web::post().to(keys::create)),
            )
            .service(resource("/keys/{key}").route(web::delete().to(keys::revoke)))
            .service(
                resource("/servers")
                    .route(read().to(servers::list))
                    .route(web::post().to(servers::create)),
            )
            .service(
                resource("/servers/{server}")
                    .route(read().to(servers::show))
                    .route(web::patch().to(servers::change))
                    .route(web::delete().to(servers::delete)),
            )
            .service(
                resource("/servers/{server}/state")
                    .route(web::put().to(servers::set_state))
                    .route(web::post().to(servers::set_state)),
            )
            .service(resource("/servers/{server}/subusers").route(read().to(subusers::list)))
            .service(
                resource("/servers/{server}/subusers/{user}")
                    .route(web::put().to(subusers::set))
                    .route(web::delete().to(subusers::remove)),
            )
            .service(resource("/nodes").route(read().to(nodes::list)))
            .service(resource("/jobs").route(read().to(jobs::list)))
            .service(resource("/jobs/{job}").route(read().to(jobs::show)))
            .service(resource("/jobs/{job}/cancel").route(web::post().to(jobs::cancel)))
            .service(resource("/storage").route(read().to(storage::by_disk)))
            .service(resource("/storage/servers").route(read().to(storage::by_server))),
    )
    .service(resource("/download/backup").route(read().to(files::download)))
    .service(resource("/healthz").route(read().to(health::alive)))
    .service(resource("/readyz").route(read().to(health::ready)))
    .default_service(web::to(|| async { Err::<&str, _>(ApiError::NotFound) }));
}

/// A resource whose other methods are answered in the service's own words.
fn resource(path: &str) -> Resource {
    web::resource(path).default_service(web::to(|request: actix_web::HttpRequest| async move {
        Err::<&str, _>(ApiError::MethodNotAllowed {
            method: request.method().to_string(),
        })
    }))
}

/// GET, and HEAD with it.
fn read() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}
