//! How a request is named: as its sender names it, by the trace that it belongs to, or by a random number. The
//! name stands in the answer, in every line that is logged for it, and in the job that it asks for.

use actix_web::dev::ServiceRequest;
use actix_web::{HttpMessage, HttpRequest, web};
use tracing::Span;

use holdfast_domain::{RequestId, TraceContext, TraceParent};

use crate::state::ApiState;

/// The header that names a request, in it and in its answer.
pub(crate) const REQUEST_ID: &str = "x-request-id";

/// Names a request, and opens the span that its log lines are written in.
pub(crate) fn name(request: &ServiceRequest) -> (TraceContext, Span) {
    let header = |name| request.headers().get(name)?.to_str().ok();
    let parent = header("traceparent").and_then(TraceParent::parse);
    let given = header(REQUEST_ID).and_then(RequestId::parse);
    let traced = || RequestId::parse(parent.as_ref()?.trace_id());
    let id = given
        .or_else(traced)
        .unwrap_or_else(|| RequestId::from_random(rand::random()));
    // An error's line needs the name as much as any other: the span is there whatever the log's filter is.
    let span = tracing::error_span!("request", request_id = id.as_str());
    let mut trace = TraceContext {
        request: id,
        parent,
    };
    if let Some(state) = request.app_data::<web::Data<ApiState>>() {
        if let Some(parent) = &parent {
            (state.spans.adopt)(&span, parent);
        }
        trace.parent = (state.spans.context)(&span).or(parent);
    }
    (trace, span)
}

/// How a request that is being handled is named.
pub(crate) fn trace_of(request: &HttpRequest) -> TraceContext {
    let named = request.extensions().get::<TraceContext>().copied();
    named.unwrap_or_else(|| TraceContext {
        request: RequestId::from_random(rand::random()),
        parent: None,
    })
}
