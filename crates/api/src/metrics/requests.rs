//! Metrics of requests: their number and duration.
//!
//! The label is the pattern of the route, never the path, so that clients cannot create new labels.

use std::fmt;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::Method;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The upper bounds of the histogram, in seconds. The last ones are for deletions, which wait for a
/// worker.
const DURATION_BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0,
];

/// The common prefix of a group of routes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoutePrefix(pub(crate) &'static str);

/// The pattern of a route, without the prefix of its group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoutePattern(pub(crate) &'static str);

/// The label `route`: a prefix and a pattern, which are joined when they are encoded.
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
        match request.app_data::<RoutePattern>() {
            Some(RoutePattern(pattern)) => {
                let prefix = request.app_data::<RoutePrefix>();
                Self(prefix.map_or("", |prefix| prefix.0), pattern)
            }
            // The files of the API documentation are no resource with a pattern.
            None if request.path().starts_with("/api/docs/") => Self("/api/docs/", "{file}"),
            None => Self("", "none"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: Route,
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: Route,
}

/// The metrics of requests.
#[derive(Clone, Debug)]
pub(crate) struct RequestMetrics {
    answered: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram, fn() -> Histogram>,
}

impl Default for RequestMetrics {
    fn default() -> Self {
        Self {
            answered: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS)),
        }
    }
}

impl RequestMetrics {
    /// Adds the metrics to a registry.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "http_requests",
            "Answered requests, by route, method and status",
            self.answered.clone(),
        );
        registry.register(
            "http_request_duration_seconds",
            "Time until the answer was ready, by route",
            self.durations.clone(),
        );
    }

    /// Counts a request whose handler panicked. Its route is no longer known.
    pub(crate) fn count_panic(&self, method: &Method, duration: Duration) {
        self.add(Route("", "none"), method, 500, duration);
    }

    /// Counts a request whose answer is about to be sent.
    pub(crate) fn count(&self, request: &HttpRequest, status: u16, duration: Duration) {
        self.add(Route::of(request), request.method(), status, duration);
    }

    fn add(&self, route: Route, method: &Method, status: u16, duration: Duration) {
        let labels = RequestLabels {
            route,
            method: method_label(method),
            status,
        };
        self.answered.get_or_create(&labels).inc();
        self.durations
            .get_or_create(&RouteLabels { route })
            .observe(duration.as_secs_f64());
    }
}

/// Returns the label of a method. Unknown methods share one label.
fn method_label(method: &Method) -> &'static str {
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
