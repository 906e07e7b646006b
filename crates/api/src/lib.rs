//! The HTTP service. The only crate that knows actix-web and HTTP status codes.
//!
//! Every URL stands in `routes`. A handler is one function, read from top to
//! bottom: who → load → may they → parse → decide → one transaction → answer.
//!
//! This crate must never run a job: it puts jobs into the table, and waits for
//! them where an answer depends on one.

mod auth;
mod edge;
mod error;
mod finals;
mod handlers;
mod headers;
mod input;
mod lists;
mod metrics;
mod names;
mod openapi;
mod operations;
mod origin;
mod page;
mod rate;
mod routes;
mod serve;
mod sign;
mod state;
mod streams;
mod views;

pub use finals::Finals;
pub use lists::Lists;
pub use metrics::Metrics;
pub use openapi::openapi;
pub use rate::Limiter;
pub use serve::{ServeError, serve, serve_metrics};
pub use sign::Signer;
pub use state::{ApiState, Measure, Options, Spans};
pub use streams::{StreamLimits, Streams};
