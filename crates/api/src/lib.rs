//! The HTTP service. Only this crate uses actix-web and HTTP status codes.
//!
//! `routes` lists every URL. A handler is one function that authenticates, loads, checks
//! permission, parses, decides, commits one transaction and answers, in this order.
//!
//! This crate must never run a job. It enqueues jobs, and waits for a job if the answer depends on
//! its result.

mod auth;
mod client_address;
mod content_scans;
mod download_token;
mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
mod handlers;
mod headers;
mod host;
mod host_check;
mod input;
mod limiter;
mod list_cache;
mod metrics;
mod middleware;
mod notifications;
mod openapi;
mod operator;
mod operator_log;
mod page;
mod panel_auth;
mod panel_request;
mod panel_token;
mod rate_limit;
mod request_id;
mod routes;
mod serve;
mod state;
mod streams;
mod views;
mod violation;

pub use content_scans::ContentScans;
pub use download_token::TokenSigner;
pub use host::AllowedHosts;
pub use limiter::RateLimiter;
pub use list_cache::ListCache;
pub use metrics::ApiMetrics;
pub use notifications::Notifications;
pub use openapi::openapi;
pub use panel_auth::{PanelAuth, PanelAuthError, PanelAuthOptions};
pub use serve::{ServeError, serve, serve_metrics, serve_node};
pub use state::{ApiOptions, ApiState, SizeEstimator, TracePropagation};
pub use streams::{StreamLimits, Streams};
