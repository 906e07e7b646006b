//! The HTTP service. The only crate that knows actix-web and HTTP status codes.
//!
//! Every URL stands in `routes`. A handler is one function, read from top to
//! bottom: who → load → may they → parse → decide → one transaction → answer.
//!
//! This crate must never run a job: it puts jobs into the table, and waits for
//! them where an answer depends on one.

mod auth;
mod client_address;
mod download_token;
mod error;
mod handlers;
mod headers;
mod input;
mod job_outcomes;
mod list_cache;
mod metrics;
mod middleware;
mod openapi;
mod operator_log;
mod page;
mod rate_limit;
mod request_id;
mod routes;
mod serve;
mod state;
mod streams;
mod views;

pub use download_token::TokenSigner;
pub use job_outcomes::JobOutcomes;
pub use list_cache::ListCache;
pub use metrics::ApiMetrics;
pub use openapi::openapi;
pub use rate_limit::RateLimiter;
pub use serve::{ServeError, serve, serve_metrics};
pub use state::{ApiOptions, ApiState, SizeEstimator, TracePropagation};
pub use streams::{StreamLimits, Streams};
