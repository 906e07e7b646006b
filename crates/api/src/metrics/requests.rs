//! Counts requests: by the pattern of their route, never by their path, so that what is counted stays bounded
//! whatever is asked for. A request costs two look-ups of a short key and two additions.

use std::fmt;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::Method;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// From an answer out of one index to a deletion that waits for a worker, in seconds.
const DURATIONS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0,
];

/// The pattern that a group of routes begins with, where it has one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope(pub(crate) &'static str);

/// The pattern of a route, within its group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pattern(pub(crate) &'static str);

/// A route, as its two parts, which are written one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Route(&'static str, &'static str);

impl EncodeLabelValue for Route {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        EncodeLabelValue::encode(&self.0, encoder)?;
        EncodeLabelValue::encode(&self.1, encoder)
    }
}

impl Route {
    fn of(request: &HttpRequest) -> Self {
        match request.app_data::<Pattern>() {
            Some(Pattern(pattern)) => {
                let scope = request.app_data::<Scope>();
                Self(scope.map_or("", |scope| scope.0), pattern)
            }
            // The page and its files have a service of their own.
            None if request.path().starts_with("/api/docs/") => Self("/api/docs/", "{file}"),
            None => Self("", "none"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: Route,
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRoute {
    route: Route,
}

/// What is counted of requests.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    answered: Family<Answered, Counter>,
    durations: Family<OfRoute, Histogram, fn() -> Histogram>,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            answered: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(DURATIONS)),
        }
    }
}

impl Requests {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "http_requests",
            "Requests that were answered, by the pattern of their route, method and status",
            self.answered.clone(),
        );
        registry.register(
            "http_request_duration_seconds",
            "How long it took until an answer began, by the pattern of its route",
            self.durations.clone(),
        );
    }

    /// Counts a request whose handler panicked, and took its route with it.
    pub(crate) fn count_defect(&self, method: &Method, took: Duration) {
        self.add(Route("", "none"), method, 500, took);
    }

    /// Counts an answer whose first byte is about to be sent.
    pub(crate) fn count(&self, request: &HttpRequest, status: u16, took: Duration) {
        self.add(Route::of(request), request.method(), status, took);
    }

    fn add(&self, route: Route, by: &Method, status: u16, took: Duration) {
        let method = method(by);
        let answered = Answered {
            route,
            method,
            status,
        };
        self.answered.get_or_create(&answered).inc();
        self.durations
            .get_or_create(&OfRoute { route })
            .observe(took.as_secs_f64());
    }
}

/// A method's name; anybody may make up another one.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
