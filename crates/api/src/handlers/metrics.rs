//! `GET /metrics`: figures for Prometheus, for those who may see them.

use std::net::IpAddr;

use actix_web::{HttpRequest, HttpResponse, web};
use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

use crate::client_address;
use crate::error::ApiError;
use crate::metrics::ApiMetrics;

/// What proxies add to the requests that they pass on.
const BY_PROXIES: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// Shows figures for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "service",
    responses((status = 200, description = "Figures in Prometheus' text format", content_type = "text/plain", body = String), (status = 403, description = "The caller's network is none of `metrics.allowed_networks`", body = crate::views::objects::Errors)),
    security(()),
)]
pub(crate) async fn metrics(
    request: HttpRequest,
    metrics: web::Data<ApiMetrics>,
) -> Result<HttpResponse, ApiError> {
    let address = caller(&request);
    if !metrics.may_see(address) {
        return Err(ApiError::MetricsNotAllowed { address });
    }
    let text = metrics.text().await.map_err(|_| ApiError::Internal)?;
    Ok(HttpResponse::Ok().content_type(CONTENT_TYPE).body(text))
}

/// The caller's address; unknown when the request came through a proxy that nobody has said to trust: whoever
/// reaches that proxy would else be taken for it, and it often is on this machine.
fn caller(request: &HttpRequest) -> Option<IpAddr> {
    let passed_on = BY_PROXIES
        .iter()
        .any(|name| request.headers().contains_key(*name));
    if passed_on && !client_address::is_from_trusted_proxy(request) {
        return None;
    }
    client_address::caller_address(request)
}
