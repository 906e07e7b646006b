//! `GET /metrics`: metrics for Prometheus, for clients in the allowed networks.

use std::net::IpAddr;

use actix_web::{HttpRequest, HttpResponse, web};
use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

use crate::client_address;
use crate::error::ApiError;
use crate::metrics::ApiMetrics;
use crate::views::objects::Errors;

/// The headers that proxies add to requests.
const PROXY_HEADERS: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// Returns metrics for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "service",
    responses(
        (
            status = 200,
            description = "Metrics in the text format of Prometheus",
            content_type = "text/plain",
            body = String
        ),
        (
            status = 403,
            description = "The client is in none of `metrics.allowed_networks`",
            body = Errors
        ),
    ),
    security(()),
)]
pub(crate) async fn metrics(
    request: HttpRequest,
    metrics: web::Data<ApiMetrics>,
) -> Result<HttpResponse, ApiError> {
    let address = known_address(&request);
    if !metrics.may_read(address) {
        return Err(ApiError::MetricsNotAllowed { address });
    }
    let text = metrics.text().await.map_err(|_| ApiError::Internal)?;
    Ok(HttpResponse::Ok().content_type(CONTENT_TYPE).body(text))
}

/// Returns the address of the client. Returns `None` for a request through an untrusted proxy.
/// Otherwise all clients of that proxy would have its address, which is often that of this host.
fn known_address(request: &HttpRequest) -> Option<IpAddr> {
    let is_proxied = PROXY_HEADERS
        .iter()
        .any(|name| request.headers().contains_key(*name));
    if is_proxied && !client_address::is_from_trusted_proxy(request) {
        return None;
    }
    client_address::of_request(request)
}
