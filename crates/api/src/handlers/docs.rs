//! `/api/openapi.json`, and `/api/docs`: a page that shows it and needs no other host.

use actix_web::HttpResponse;
use actix_web::http::header::LOCATION;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::openapi::openapi;

pub(crate) async fn document_json() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(openapi())
}

/// The page, with its scripts and styles.
pub(crate) fn page() -> SwaggerUi {
    // By default the page would send its address to a validator on the internet.
    let config = Config::from("/api/openapi.json").validator_url("none");
    SwaggerUi::new("/api/docs/{_:.*}").config(config)
}

/// Leads to the page, whose files are named relative to it.
pub(crate) async fn to_page() -> HttpResponse {
    HttpResponse::Found()
        .insert_header((LOCATION, "/api/docs/index.html"))
        .finish()
}
