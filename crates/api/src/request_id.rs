//! Request IDs: chosen by the client, or else the ID of the request's trace, or else random.
//!
//! The ID is in the answer, in each log line of the request, and in the job that the request
//! creates.

use actix_web::dev::ServiceRequest;
use actix_web::{HttpMessage, HttpRequest, web};
use tracing::Span;

use holdfast_domain::{RequestId, TraceContext, TraceParent};

use crate::state::ApiState;

/// The header with the request ID, in requests and in answers.
pub(crate) const REQUEST_ID: &str = "x-request-id";

/// Returns the ID and trace of a request, and the span for its log lines.
pub(crate) fn assign(request: &ServiceRequest) -> (TraceContext, Span) {
    let header = |name| request.headers().get(name)?.to_str().ok();
    let parent = header("traceparent").and_then(TraceParent::parse);
    let chosen = header(REQUEST_ID).and_then(RequestId::parse);
    let from_trace = || RequestId::parse(parent.as_ref()?.trace_id());
    let id = chosen
        .or_else(from_trace)
        .unwrap_or_else(|| RequestId::from_random(rand::random()));
    // At level `error`, so that no log filter removes the request ID from the lines.
    let span = tracing::error_span!("request", request_id = id.as_str());
    let mut trace = TraceContext {
        request: id,
        parent,
    };
    if let Some(state) = request.app_data::<web::Data<ApiState>>() {
        if let Some(parent) = &parent {
            (state.trace_propagation.set_parent)(&span, parent);
        }
        trace.parent = (state.trace_propagation.as_parent)(&span).or(parent);
    }
    (trace, span)
}

/// Returns the ID and trace that [`assign`] gave to a request.
pub(crate) fn trace_of(request: &HttpRequest) -> TraceContext {
    let assigned = request.extensions().get::<TraceContext>().copied();
    assigned.unwrap_or_else(|| TraceContext {
        request: RequestId::from_random(rand::random()),
        parent: None,
    })
}
