//! Tests of real clusters, in one program, so that it is linked once.
#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

mod accounts;
mod clusters;
mod refusals;
mod support;
