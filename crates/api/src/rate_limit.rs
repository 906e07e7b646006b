//! The rate limit of the API: counts a request by its key, or by its address if it has no valid
//! key, and writes the `X-RateLimit-…` headers of its answer.

use std::net::IpAddr;

use actix_web::body::BoxBody;
use actix_web::dev::ServiceResponse;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest, web};

use crate::client_address;
use crate::error::ApiError;
use crate::limiter::LimitStatus;
use crate::state::ApiState;
use crate::views::errors::NodeErrors;

/// Counts a request by its caller, such as `key:ptlc_…`.
///
/// # Errors
/// [`ApiError::TooManyRequests`] above the limit.
pub(crate) fn count_caller(request: &HttpRequest, subject: &str) -> Result<(), ApiError> {
    refuse_above(count_subject(request, subject))
}

/// Counts a request of a panel with a wrong token, by its address.
///
/// # Errors
/// [`ApiError::TooManyRequests`] above the limit.
pub(crate) fn count_wrong_token(request: &HttpRequest) -> Result<(), ApiError> {
    refuse_above(count_subject(request, &address_subject(request)))
}

/// A request whose secret may be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guess {
    /// The secret was valid before, so it is not looked up in vain.
    Proven,
    /// The request was counted by its address.
    Counted,
}

impl Guess {
    /// Counts a request by its address, before its secret is looked up.
    ///
    /// # Errors
    /// [`ApiError::TooManyRequests`] above the limit.
    pub(crate) fn count(
        request: &HttpRequest,
        secret_hash: Option<&[u8; 32]>,
    ) -> Result<Self, ApiError> {
        let state = request.app_data::<web::Data<ApiState>>();
        let is_proven = secret_hash
            .zip(state)
            .is_some_and(|(hash, state)| state.rate_limiter.is_proven(hash));
        if is_proven {
            return Ok(Self::Proven);
        }
        refuse_above(count_subject(request, &address_subject(request)))?;
        Ok(Self::Counted)
    }

    /// Corrects the count of the address once the secret was looked up. Only wrong ones count. If
    /// the database is unavailable, the result is unknown, and the request does not count.
    ///
    /// # Errors
    /// [`ApiError::TooManyRequests`] above the limit.
    pub(crate) fn end(
        self,
        request: &HttpRequest,
        secret_hash: &[u8; 32],
        found: Result<(), &ApiError>,
    ) -> Result<(), ApiError> {
        let Some(state) = request.app_data::<web::Data<ApiState>>() else {
            return Ok(());
        };
        let limiter = &state.rate_limiter;
        let may_be_right = matches!(
            found,
            Ok(()) | Err(ApiError::Unavailable | ApiError::Internal)
        );
        match self {
            Self::Counted if may_be_right => {
                limiter.uncount(&address_subject(request), (state.now)());
            }
            Self::Proven if !may_be_right => {
                refuse_above(count_subject(request, &address_subject(request)))?;
            }
            Self::Counted | Self::Proven => {}
        }
        if found.is_ok() {
            limiter.prove(*secret_hash);
        }
        Ok(())
    }
}

fn refuse_above(status: Option<LimitStatus>) -> Result<(), ApiError> {
    match status {
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
pub(crate) fn address_subject(request: &HttpRequest) -> String {
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
    // A panel sends the requests of all its users from one address.
    if counted.is_none() && request.app_data::<NodeErrors>().is_some() {
        return;
    }
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
