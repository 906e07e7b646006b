//! `/api/openapi.json`, and `/api/docs`: a page that shows the document.
//!
//! The page must not load anything from other hosts.

use actix_web::HttpResponse;
use actix_web::http::header::LOCATION;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::openapi::openapi;

/// Answers with the OpenAPI document.
pub(crate) async fn openapi_json() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(openapi())
}

/// Returns the service for the page with its scripts and styles.
pub(crate) fn page() -> SwaggerUi {
    // By default, the page sends its URL to a validator on the internet.
    let config = Config::from("/api/openapi.json").validator_url("none");
    SwaggerUi::new("/api/docs/{_:.*}").config(config)
}

/// Redirects to the page. Its relative links need the full path.
pub(crate) async fn redirect_to_page() -> HttpResponse {
    HttpResponse::Found()
        .insert_header((LOCATION, "/api/docs/index.html"))
        .finish()
}
