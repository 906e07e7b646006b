//! Shared parts of the tests of the whole service: the service itself, callers, databases, files
//! and processes.

pub(crate) mod app;
pub(crate) mod client;
pub(crate) mod database;
pub(crate) mod docker;
pub(crate) mod files;
pub(crate) mod fixtures;
#[expect(
    dead_code,
    reason = "the tests of crates/storage try more of it than these do"
)]
pub(crate) mod google;
pub(crate) mod nginx;
pub(crate) mod postgres;
pub(crate) mod process;
#[expect(
    dead_code,
    reason = "the tests of crates/storage need more faults than these do"
)]
pub(crate) mod proxy;
pub(crate) mod receiver;
pub(crate) mod s3;
pub(crate) mod tls;

use std::time::{Duration, Instant};

/// The longest time that a test waits for something. It is much more than needed, since the machine
/// may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Polls until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        let patience = PATIENCE.as_secs();
        assert!(
            begun.elapsed() < PATIENCE,
            "{what}: not so within {patience} s"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Prints why a test, or a part of it, cannot run here.
#[expect(clippy::print_stdout, reason = "cargo shows it on request")]
pub(crate) fn skipped(reason: &str) {
    println!("skipped: {reason}");
}
