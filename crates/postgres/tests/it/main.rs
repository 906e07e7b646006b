//! Tests around real clusters; one program, so that it is linked once.
#![expect(
    clippy::unwrap_used,
    reason = "a test that panics has failed, as it should"
)]

mod accounts;
mod clusters;
mod refusals;
mod support;
