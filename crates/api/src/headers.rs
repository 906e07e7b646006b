//! The headers that every answer carries: they tell browsers to take it for what it says it is, to run nothing in
//! it, to show it in no frame, to tell nobody where they were, and to keep no copy of it.

use actix_web::dev::ServiceRequest;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use actix_web::web;

use holdfast_domain::RequestId;

use crate::client_address;
use crate::request_id::REQUEST_ID;
use crate::state::ApiState;

/// For answers that are no pages.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";
/// For the page that shows the API: its own scripts and styles, and requests to this service.
const OWN_PAGE: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                        img-src 'self' data:; font-src 'self' data:; connect-src 'self'; \
                        base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What is known of the headers of an answer before it is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guard {
    is_page: bool,
    /// For how many seconds browsers are told to come by TLS alone; 0 to say nothing.
    hsts_seconds: u32,
}

/// Looks at a request for what its answer's headers depend on.
pub(crate) fn of(request: &ServiceRequest) -> Guard {
    let state = request.app_data::<web::Data<ApiState>>();
    let hsts_seconds = state
        .map(|state| &state.options)
        .filter(|options| {
            options.hsts_seconds > 0 && client_address::is_by_tls(request.request(), options)
        })
        .map_or(0, |options| options.hsts_seconds);
    Guard {
        is_page: request.path().starts_with("/api/docs"),
        hsts_seconds,
    }
}

impl Guard {
    /// Adds them.
    pub(crate) fn dress(self, headers: &mut HeaderMap, id: &RequestId) {
        if let Ok(id) = HeaderValue::from_str(id.as_str()) {
            headers.insert(HeaderName::from_static(REQUEST_ID), id);
        }
        let policy = if self.is_page { OWN_PAGE } else { NOTHING };
        for (name, value) in [
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            (X_FRAME_OPTIONS, "DENY"),
            (CONTENT_SECURITY_POLICY, policy),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if !self.is_page && !headers.contains_key(CACHE_CONTROL) {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        if self.hsts_seconds > 0
            && let Ok(value) = HeaderValue::from_str(&format!("max-age={}", self.hsts_seconds))
        {
            headers.insert(STRICT_TRANSPORT_SECURITY, value);
        }
    }
}
