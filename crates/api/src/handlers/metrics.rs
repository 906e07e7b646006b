//! `GET /metrics`: metrics for Prometheus, for clients in the allowed networks.

use std::net::IpAddr;

use actix_web::{HttpRequest, HttpResponse, web};
use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

use crate::client_address::{caller_address, is_from_trusted_proxy};
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
    let address = client_address(&request);
    if !metrics.may_read(address) {
        return Err(ApiError::MetricsNotAllowed { address });
    }
    let text = metrics.text().await.map_err(|_| ApiError::Internal)?;
    Ok(HttpResponse::Ok().content_type(CONTENT_TYPE).body(text))
}

/// Returns the address of the client. Returns `None` for a request through an untrusted proxy,
/// which is often on this host: otherwise each of its clients would have the proxy's address.
fn client_address(request: &HttpRequest) -> Option<IpAddr> {
    let is_proxied = PROXY_HEADERS
        .iter()
        .any(|name| request.headers().contains_key(*name));
    if is_proxied && !is_from_trusted_proxy(request) {
        return None;
    }
    caller_address(request)
}
