//! Every URL of the service, on one page.

use actix_web::{Resource, Route, guard, web};

use crate::error::ApiError;
use crate::handlers::{activity, backups, docs, files, health};

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
            .service(resource("/{backup}/rename").route(web::put().to(backups::rename)))
            .service(resource("/{backup}/cancel").route(web::post().to(backups::cancel)))
            .service(resource("/{backup}/unlock").route(web::post().to(backups::unlock))),
    )
    .service(resource("/api/client/servers/{server}/activity").route(read().to(activity::list)))
    .service(resource("/download/backup").route(read().to(files::download)))
    .service(resource("/api/openapi.json").route(read().to(docs::document_json)))
    .service(resource("/api/docs").route(read().to(docs::to_page)))
    .service(docs::page())
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
