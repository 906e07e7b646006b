//! The check of the host that a request names.
//!
//! The host can lead into links, and a web page can point a name of its own at this service. So a
//! host must be a name or an address, and `http.allowed_hosts` can limit the names that are
//! answered.

use actix_web::dev::ServiceRequest;
use actix_web::http::header::HOST;
use actix_web::{HttpRequest, web};

use crate::client_address;
use crate::error::ApiError;
use crate::host::Host;
use crate::state::ApiState;

/// The paths that load balancers ask by address. Their answers contain no links.
const CHECKS: [&str; 2] = ["/healthz", "/readyz"];

/// Checks the host of a request.
///
/// # Errors
/// [`ApiError::BadRequest`] if it is not a host, or if the URL of the request names another one.
/// [`ApiError::HostNotAllowed`] if the service does not answer to it.
pub(crate) fn check(request: &ServiceRequest) -> Result<(), ApiError> {
    let request = request.request();
    let own = own_host(request)?;
    let Some(state) = request.app_data::<web::Data<ApiState>>() else {
        return Ok(());
    };
    let allowed = &state.options.allowed_hosts;
    let is_check = CHECKS.contains(&request.path().trim_end_matches('/'));
    if allowed.is_empty() || is_check {
        return Ok(());
    }
    let forwarded = client_address::forwarded_host(request, &state.options.trusted_proxies);
    let host = forwarded.and_then(|host| Host::parse(&host)).or(own);
    match host {
        Some(host) if allowed.contains(&host) => Ok(()),
        _ => Err(ApiError::HostNotAllowed),
    }
}

/// Returns the host that the request itself names, in its URL or in `Host`.
fn own_host(request: &HttpRequest) -> Result<Option<Host>, ApiError> {
    let parse = |text: &str| Host::parse(text).ok_or(ApiError::BadRequest);
    let header = match request.headers().get(HOST) {
        Some(value) if value.is_empty() => None,
        Some(value) => Some(value.to_str().map_err(|_| ApiError::BadRequest)?),
        None => None,
    };
    let header = header.map(parse).transpose()?;
    let uri = request.uri();
    let Some(authority) = uri.authority() else {
        return Ok(header);
    };
    // A proxy may have checked one of them, so they must be the same.
    let target = parse(authority.as_str())?;
    let default = match uri.scheme_str() {
        Some("https") => 443,
        _ => 80,
    };
    let whole = |host: &Host| (host.name.clone(), host.port.unwrap_or(default));
    match header {
        Some(header) if whole(&header) != whole(&target) => Err(ApiError::BadRequest),
        _ => Ok(Some(target)),
    }
}
