//! The outermost layer: names, times, counts and logs each request once, and makes sure that every answer
//! carries its name and the headers that protect browsers, and that every failure leaves in the service's one
//! error format and the caller's profile.

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
use crate::headers;
use crate::metrics::ApiMetrics;
use crate::operator_log;
use crate::rate_limit;
use crate::request_id;
use crate::views;

/// Wraps every request.
pub(crate) async fn edge(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let begun = Instant::now();
    // One that makes no sense is none, as HTTP has it; who hands out files would refuse it.
    if request.headers().contains_key(RANGE) && Range::parse(&request).is_err() {
        request.headers_mut().remove(RANGE);
    }
    let (trace, span) = request_id::name(&request);
    let id = trace.request;
    request.extensions_mut().insert(trace);
    let wrapped = async move {
        let method = request.method().clone();
        // The path alone: a query may carry a download token.
        let path = request.path().to_owned();
        let guard = headers::of(&request);
        let metrics = request.app_data::<web::Data<ApiMetrics>>().cloned();
        // Caught here, so that even a defect is answered in the one error format.
        let answered = AssertUnwindSafe(next.call(request)).catch_unwind().await;
        let response = match answered {
            Ok(response) => response?.map_into_boxed_body(),
            Err(_) => {
                tracing::error!(%method, path, "a handler panicked");
                if let Some(metrics) = metrics {
                    metrics.requests.count_defect(&method, begun.elapsed());
                }
                let mut response = views::error(&ApiError::Internal, Profile::default());
                guard.dress(response.headers_mut(), &id);
                return Err(InternalError::from_response("a handler panicked", response).into());
            }
        };
        let mut response = in_our_words(response);
        operator_log::note_refusal(&response).await;
        if path.starts_with("/api/") {
            rate_limit::tell(&mut response);
        }
        guard.dress(response.headers_mut(), &id);
        let status = response.status().as_u16();
        let took = begun.elapsed();
        if let Some(metrics) = metrics {
            metrics.requests.count(response.request(), status, took);
        }
        let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(%method, path, status, duration_ms, "answered a request");
        Ok(response)
    };
    wrapped.instrument(span).await
}

fn in_our_words(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let ours = response
        .response()
        .error()
        .and_then(|error| error.as_error::<ApiError>());
    let headers = response.headers();
    if ours.is_none()
        && headers
            .get(CONTENT_TYPE)
            .is_some_and(|value| value == "application/json")
    {
        // A handler's own words: readiness says what is not ready.
        return response;
    }
    let profile = response
        .request()
        .extensions()
        .get::<Profile>()
        .copied()
        .unwrap_or_default();
    let shaped = match ours {
        Some(error) => views::error(error, profile),
        // Made by the framework, or an empty refusal of the file handler.
        None => {
            let method = response.request().method().as_str();
            let mut shaped = views::error(&foreign(status, method), profile);
            *shaped.status_mut() = status;
            if let Some(range) = headers.get(CONTENT_RANGE) {
                shaped.headers_mut().insert(CONTENT_RANGE, range.clone());
            }
            shaped
        }
    };
    response.into_response(shaped)
}

/// Puts a failure that is not ours into the nearest words that are.
fn foreign(status: StatusCode, method: &str) -> ApiError {
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
