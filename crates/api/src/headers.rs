//! The headers of every answer: the request ID, and headers that protect browsers.
//!
//! These forbid browsers to guess content types, run scripts, show frames, send referrers and store
//! copies.

use actix_web::dev::ServiceRequest;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use actix_web::web;

use holdfast_domain::RequestId;

use crate::client_address::uses_tls;
use crate::request_id::REQUEST_ID;
use crate::state::ApiState;

/// The content security policy of all answers except the page with the API documentation.
const API_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";
/// The content security policy of the API documentation: its own scripts and styles, and requests
/// to this service.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; \
                           style-src 'self' 'unsafe-inline'; \
                           img-src 'self' data:; font-src 'self' data:; connect-src 'self'; \
                           base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The common headers of an answer, as far as they depend on the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommonHeaders {
    /// Whether the answer is the API documentation.
    is_docs: bool,
    /// The `max-age` of `Strict-Transport-Security`, in seconds. 0: no such header.
    hsts_seconds: u32,
}

impl CommonHeaders {
    /// Returns the common headers for the answer to a request.
    pub(crate) fn for_request(request: &ServiceRequest) -> Self {
        let state = request.app_data::<web::Data<ApiState>>();
        let hsts_seconds = state
            .map(|state| &state.options)
            .filter(|options| options.hsts_seconds > 0 && uses_tls(request.request(), options))
            .map_or(0, |options| options.hsts_seconds);
        Self {
            is_docs: request.path().starts_with("/api/docs"),
            hsts_seconds,
        }
    }

    /// Writes the headers to an answer.
    pub(crate) fn write_to(self, headers: &mut HeaderMap, id: &RequestId) {
        if let Ok(id) = HeaderValue::from_str(id.as_str()) {
            headers.insert(HeaderName::from_static(REQUEST_ID), id);
        }
        let policy = if self.is_docs {
            DOCS_POLICY
        } else {
            API_POLICY
        };
        for (name, value) in [
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            (X_FRAME_OPTIONS, "DENY"),
            (CONTENT_SECURITY_POLICY, policy),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if !self.is_docs && !headers.contains_key(CACHE_CONTROL) {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        if self.hsts_seconds > 0
            && let Ok(value) = HeaderValue::from_str(&format!("max-age={}", self.hsts_seconds))
        {
            headers.insert(STRICT_TRANSPORT_SECURITY, value);
        }
    }
}
