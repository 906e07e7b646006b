//! The outermost layer of the service. It assigns each request its ID, measures, counts and logs
//! it, and gives each answer its common headers.
//!
//! It also gives every error answer the service's format and the profile of the caller, including
//! errors of the framework and panics of handlers. Errors of a node's routes have the form of
//! Wings.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_RANGE, CONTENT_TYPE, Header as _, RANGE, Range};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, web};
use futures_util::FutureExt;
use tracing::Instrument as _;

use holdfast_domain::Profile;

use crate::error::ApiError;
use crate::headers::CommonHeaders;
use crate::host_check;
use crate::metrics::ApiMetrics;
use crate::operator_log;
use crate::panel_request;
use crate::rate_limit;
use crate::request_id;
use crate::views::errors::{error_response, node_error_response};

/// Handles a request around the router and its handler.
pub(crate) async fn handle(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    if !has_readable_range(&request) {
        request.headers_mut().remove(RANGE);
    }
    let (trace, span) = request_id::assign(&request);
    let id = trace.request;
    request.extensions_mut().insert(trace);
    let answer = async move {
        let method = request.method().clone();
        // Only the path is logged, since a query may contain a download token.
        let path = request.path().to_owned();
        let headers = CommonHeaders::for_request(&request);
        let metrics = request.app_data::<web::Data<ApiMetrics>>().cloned();
        let result = match host_check::check(&request) {
            // Panics are caught so that their answers have the error format, too.
            Ok(()) => AssertUnwindSafe(answer(next, request)).catch_unwind().await,
            Err(refused) => Ok(Ok(request.error_response(refused))),
        };
        let response = match result {
            Ok(response) => response?,
            Err(_) => {
                tracing::error!(%method, path, "a handler panicked");
                if let Some(metrics) = metrics {
                    metrics.requests.count_panic(&method, started.elapsed());
                }
                let mut response = error_response(&ApiError::Internal, Profile::default());
                headers.write_to(response.headers_mut(), &id);
                return Err(InternalError::from_response("a handler panicked", response).into());
            }
        };
        let mut response = with_error_format(response);
        operator_log::record_refusal(&response).await;
        if panel_request::is_for_node(response.request()) {
            panel_request::write_daemon(response.headers_mut());
        }
        if path.starts_with("/api/") {
            rate_limit::write_headers(&mut response);
        }
        headers.write_to(response.headers_mut(), &id);
        let status = response.status().as_u16();
        let duration = started.elapsed();
        if let Some(metrics) = metrics {
            metrics.requests.count(response.request(), status, duration);
        }
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(%method, path, status, duration_ms, "answered a request");
        Ok(response)
    };
    answer.instrument(span).await
}

async fn answer(
    next: Next<impl MessageBody + 'static>,
    request: ServiceRequest,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let response = next.call(request).await?;
    Ok(response.map_into_boxed_body())
}

/// Returns whether a request asks for ranges of bytes. HTTP says to ignore an invalid range, and
/// one of another unit. The file handler would refuse both. The parser of actix accepts signs, too.
pub(crate) fn has_readable_range(request: &impl HttpMessage) -> bool {
    let header = request.headers().get(RANGE);
    let is_plain = header.is_some_and(|value| !value.as_bytes().contains(&b'+'));
    is_plain && matches!(Range::parse(request), Ok(Range::Bytes(_)))
}

/// Gives an error answer the service's format. Other answers are returned unchanged.
fn with_error_format(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let api_error = response
        .response()
        .error()
        .and_then(|error| error.as_error::<ApiError>());
    let headers = response.headers();
    if api_error.is_none()
        && headers
            .get(CONTENT_TYPE)
            .is_some_and(|value| value == "application/json")
    {
        // Written by a handler: `/readyz` lists the failed checks.
        return response;
    }
    let profile = response
        .request()
        .extensions()
        .get::<Profile>()
        .copied()
        .unwrap_or_default();
    let request = response.request();
    let is_node = panel_request::is_for_node(request);
    let formatted = |error: &ApiError| match is_node {
        true => node_error_response(error),
        false => error_response(error, profile),
    };
    let formatted = match api_error {
        Some(error) => formatted(error),
        // Created by the framework or by the file handler.
        None => {
            let method = response.request().method().as_str();
            let mut formatted = formatted(&error_for_status(status, method));
            *formatted.status_mut() = status;
            if let Some(range) = headers.get(CONTENT_RANGE) {
                formatted.headers_mut().insert(CONTENT_RANGE, range.clone());
            }
            formatted
        }
    };
    response.into_response(formatted)
}

/// Returns the API error that is closest to an error status of the framework.
fn error_for_status(status: StatusCode, method: &str) -> ApiError {
    match status {
        StatusCode::NOT_FOUND => ApiError::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => ApiError::MethodNotAllowed {
            method: method.to_owned(),
            allow: "GET, HEAD",
        },
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::BodyTooLarge,
        StatusCode::RANGE_NOT_SATISFIABLE => ApiError::RangeNotSatisfiable,
        StatusCode::PRECONDITION_FAILED => ApiError::PreconditionFailed,
        status if status.is_client_error() => ApiError::BadRequest,
        _ => ApiError::Internal,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn only_ranges_of_bytes_are_read() {
        for (range, expected) in [
            ("bytes=0-", true),
            ("bytes=0-1,5-6", true),
            ("bytes=-5", true),
            ("bytes=5", false),
            ("bytes", false),
            ("bytes=+0-", false),
            ("bytes=0-+5", false),
            ("pages=1-2", false),
            ("byteS=0)", false),
            ("", false),
        ] {
            let request = TestRequest::default().insert_header((RANGE, range));
            let found = has_readable_range(&request.to_http_request());
            assert_eq!(found, expected, "{range}");
        }
        let request = TestRequest::default().to_http_request();
        assert!(!has_readable_range(&request));
    }
}
