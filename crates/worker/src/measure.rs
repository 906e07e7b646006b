//! Counts the size of a backup's source before the backup is created.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use holdfast_archive::{Control, IgnoreRules};
use holdfast_domain::{DirectoryRules, Server};

use crate::server_directory;

/// How long counting may take: a request waits for it.
const COUNT_TIMEOUT: Duration = Duration::from_secs(2);
/// How many servers are counted at once. A thread that hangs, such as on a network file system that
/// is away, keeps its place.
const CONCURRENT_COUNTS: usize = 4;

/// Counts sizes for the requests of one process.
#[derive(Debug)]
pub struct SourceCounter {
    rules: DirectoryRules,
    places: Arc<Semaphore>,
}

impl SourceCounter {
    /// Creates a counter for servers whose directories `rules` allow.
    pub fn new(rules: DirectoryRules) -> Self {
        Self {
            rules,
            places: Arc::new(Semaphore::new(CONCURRENT_COUNTS)),
        }
    }

    /// Counts the bytes that a backup of a server would read. Returns `None` after two seconds, or
    /// if the files can't be read; the backup itself will report the error.
    pub async fn count(&self, server: Server, patterns: Vec<String>) -> Option<u64> {
        let rules = self.rules.clone();
        let count = move |control: &Control| count(&rules, &server, patterns, control);
        run_in_place(&self.places, COUNT_TIMEOUT, count).await?
    }
}

/// Runs `count` on a thread that may block, once a place is free. Cancels it after the timeout, and
/// also if this future is dropped because the client of the request has gone.
async fn run_in_place<T: Send + 'static>(
    places: &Arc<Semaphore>,
    timeout: Duration,
    count: impl FnOnce(&Control) -> T + Send + 'static,
) -> Option<T> {
    let control = Arc::new(Control::new());
    let _cancel = CancelOnDrop(Arc::clone(&control));
    let counted = tokio::time::timeout(timeout, async {
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        let counting = tokio::task::spawn_blocking(move || {
            let counted = count(&control);
            drop(place);
            counted
        });
        counting.await.ok()
    });
    counted.await.ok()?
}

fn count(
    rules: &DirectoryRules,
    server: &Server,
    patterns: Vec<String>,
    control: &Control,
) -> Option<u64> {
    let directory =
        server_directory::resolve(rules, &server.directory, server.directory_set_by).ok()?;
    let lines = match patterns.is_empty() {
        true => holdfast_archive::read_pteroignore(&directory).ok()?.lines,
        false => patterns,
    };
    let rules = IgnoreRules::new(&lines).ok()?;
    let totals = holdfast_archive::scan(&directory, &rules, control)
        .ok()?
        .totals();
    Some(totals.bytes)
}

/// Cancels what runs under a control when it is dropped.
struct CancelOnDrop(Arc<Control>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits until the work is cancelled.
    fn endless(control: &Control) {
        while !control.is_cancelled() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[tokio::test]
    async fn work_that_takes_too_long_is_cancelled_and_gives_its_place_back() {
        let places = Arc::new(Semaphore::new(1));
        let timeout = Duration::from_millis(50);
        assert_eq!(run_in_place(&places, timeout, endless).await, None);
        let _place = places.acquire().await.unwrap();
    }

    #[tokio::test]
    async fn work_of_a_request_that_was_dropped_is_cancelled() {
        let places = Arc::new(Semaphore::new(1));
        let hour = Duration::from_secs(3600);
        let (started, wait) = tokio::sync::oneshot::channel();
        let work = run_in_place(&places, hour, move |control| {
            started.send(()).unwrap();
            endless(control);
        });
        tokio::select! {
            _ = work => panic!("it ended by itself"),
            _ = wait => {}
        }
        let _place = places.acquire().await.unwrap();
    }

    #[tokio::test]
    async fn work_waits_for_a_place_no_longer_than_its_timeout() {
        let places = Arc::new(Semaphore::new(1));
        let place = places.acquire().await.unwrap();
        let timeout = Duration::from_millis(50);
        assert_eq!(run_in_place(&places, timeout, |_| 1).await, None);
        drop(place);
        let hour = Duration::from_secs(3600);
        assert_eq!(run_in_place(&places, hour, |_| 1).await, Some(1));
    }
}
