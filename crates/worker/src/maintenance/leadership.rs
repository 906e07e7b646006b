//! Leadership: the lock that only one worker holds at a time, and the work that its holder does.

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use holdfast_db::{LeaderLock, LockTimeout};
use holdfast_domain::error_chain::chain;

use crate::context::Context;

/// Time between two starts of the work.
const WORK_INTERVAL: Duration = Duration::from_secs(10);
/// How long the work may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);

/// The leadership of the service or of a node, which this worker holds or tries to get.
pub(super) struct Leader {
    name: String,
    /// The lock, while it is held.
    lock: Option<LeaderLock>,
    /// The work of the leader, and the token that stops it.
    work: Option<(JoinHandle<()>, CancellationToken)>,
    /// Work beside it, which it must not delay, and the token that stops it.
    side_work: Option<(JoinHandle<()>, CancellationToken)>,
    /// When the work last started under the current lock.
    last_start: Option<Instant>,
}

impl Leader {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            lock: None,
            work: None,
            side_work: None,
            last_start: None,
        }
    }

    /// Takes the lock if it is free, and returns whether this worker leads. Stops the work if the
    /// lock was lost.
    pub(super) async fn try_lead(&mut self, context: &Context) -> bool {
        if let Some(lock) = &mut self.lock {
            if lock.is_held().await {
                return true;
            }
            tracing::warn!(lock = self.name, "lost the leader lock");
            self.lock = None;
            self.last_start = None;
            for (_, stop) in self.work.iter().chain(&self.side_work) {
                stop.cancel();
            }
        }
        match LeaderLock::try_acquire(&context.database, &self.name, LockTimeout::Short).await {
            Ok(Some(lock)) => {
                tracing::debug!(lock = self.name, "took the leader lock");
                self.lock = Some(lock);
                true
            }
            Ok(None) => false,
            Err(error) => {
                tracing::debug!(
                    lock = self.name,
                    error = chain(&error),
                    "the leader lock could not be taken"
                );
                false
            }
        }
    }

    /// Returns whether no work has started since the lock was taken.
    pub(super) fn is_new(&self) -> bool {
        self.last_start.is_none()
    }

    /// Starts the work, unless it still runs or started less than [`WORK_INTERVAL`] ago.
    pub(super) fn start_work<F>(&mut self, work: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if self
            .work
            .as_ref()
            .is_some_and(|(work, _)| !work.is_finished())
        {
            return;
        }
        if self
            .last_start
            .is_some_and(|start| start.elapsed() < WORK_INTERVAL)
        {
            return;
        }
        self.last_start = Some(Instant::now());
        let stop = CancellationToken::new();
        self.work = Some((tokio::spawn(work(stop.clone())), stop));
    }

    /// Starts work beside the other, unless it still runs.
    pub(super) fn start_side_work<F>(&mut self, work: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if self
            .side_work
            .as_ref()
            .is_none_or(|(work, _)| work.is_finished())
        {
            let stop = CancellationToken::new();
            self.side_work = Some((tokio::spawn(work(stop.clone())), stop));
        }
    }

    /// Stops the work and frees the lock.
    pub(super) async fn resign(mut self) {
        for (mut work, stop) in self.work.take().into_iter().chain(self.side_work.take()) {
            stop.cancel();
            if tokio::time::timeout(STOP_TIMEOUT, &mut work).await.is_err() {
                // The work may be repeated. A query that hangs must not delay the shutdown.
                work.abort();
            }
        }
        if let Some(lock) = self.lock.take() {
            lock.release().await;
        }
    }
}

impl Drop for Leader {
    /// Stops the work, since the lock is freed too.
    fn drop(&mut self) {
        for (work, stop) in self.work.take().into_iter().chain(self.side_work.take()) {
            stop.cancel();
            work.abort();
        }
    }
}
