//! The rate limit of the API: counts a request by its key, or by its address if it has no valid
//! key, and writes the `X-RateLimit-…` headers of its answer.

use std::net::IpAddr;

use actix_web::body::BoxBody;
use actix_web::dev::ServiceResponse;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest, web};

use holdfast_domain::key::KeyIdentifier;

use crate::client_address;
use crate::error::ApiError;
use crate::limiter::LimitStatus;
use crate::state::ApiState;

/// Counts a request by its key, or by its address if the key is missing or invalid.
///
/// # Errors
/// [`ApiError::TooManyRequests`] above the limit. A request whose key could not be checked, because
/// the database is unavailable, is not counted.
pub(crate) fn count(
    request: &HttpRequest,
    key: Result<&KeyIdentifier, &ApiError>,
) -> Result<(), ApiError> {
    let subject = match key {
        Ok(key) => format!("key:{key}"),
        Err(ApiError::Unavailable | ApiError::Internal) => return Ok(()),
        Err(_) => address_subject(request),
    };
    match count_subject(request, &subject) {
        Some(status) if !status.is_allowed => Err(ApiError::TooManyRequests {
            retry_after_seconds: status.retry_after_seconds,
        }),
        _ => Ok(()),
    }
}

/// Counts a request, and attaches the status to it for the headers of the answer.
fn count_subject(request: &HttpRequest, subject: &str) -> Option<LimitStatus> {
    let state = request.app_data::<web::Data<ApiState>>()?;
    let status = state.rate_limiter.count(subject, (state.now)())?;
    request.extensions_mut().insert(status);
    Some(status)
}

/// Returns the subject for the caller's address. For IPv6 it is the /64 network, since one customer
/// usually has all of its 2⁶⁴ addresses.
fn address_subject(request: &HttpRequest) -> String {
    match client_address::of_request(request) {
        Some(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            format!("address:{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
        Some(address) => format!("address:{address}"),
        None => "address:unknown".to_owned(),
    }
}

/// Writes the `X-RateLimit-…` headers of an answer. If a request was answered before its key was
/// checked, for example because the path does not exist, it is counted here by its address.
pub(crate) fn write_headers(response: &mut ServiceResponse<BoxBody>) {
    let request = response.request();
    let counted = request.extensions().get::<LimitStatus>().copied();
    let Some(status) = counted.or_else(|| count_subject(request, &address_subject(request))) else {
        return;
    };
    let headers = response.headers_mut();
    headers.insert(
        HeaderName::from_static("x-ratelimit-limit"),
        status.limit.into(),
    );
    headers.insert(
        HeaderName::from_static("x-ratelimit-remaining"),
        HeaderValue::from(status.remaining),
    );
    headers.insert(
        HeaderName::from_static("x-ratelimit-reset"),
        HeaderValue::from(status.resets_at),
    );
}
