//! Something that one worker at a time does: the lock that says so, and the work in its name.

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use holdfast_db::{LeaderLock, LockTimeout};
use holdfast_domain::error_chain::chain;

use crate::context::Context;

/// How often what is due is looked for.
const LOOK: Duration = Duration::from_secs(10);
/// How long work in progress may take to stop.
const STOP: Duration = Duration::from_millis(500);

/// An office that this worker holds, or would.
pub(super) struct Leader {
    name: String,
    lead: Option<LeaderLock>,
    /// What is done in its name, and how it is stopped.
    work: Option<(JoinHandle<()>, CancellationToken)>,
    /// When work was last begun since the office is held.
    last: Option<Instant>,
}

impl Leader {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            lead: None,
            work: None,
            last: None,
        }
    }

    /// Says whether the office is held; takes it when nobody has it. Once it is lost, what is done in its name
    /// stops.
    pub(super) async fn is_held(&mut self, context: &Context) -> bool {
        if let Some(lead) = &mut self.lead {
            if lead.is_held().await {
                return true;
            }
            tracing::warn!(office = self.name, "lost an office");
            self.lead = None;
            self.last = None;
            if let Some((_, stop)) = &self.work {
                stop.cancel();
            }
        }
        match LeaderLock::try_acquire(&context.database, &self.name, LockTimeout::Short).await {
            Ok(Some(lead)) => {
                tracing::debug!(office = self.name, "took an office");
                self.lead = Some(lead);
                true
            }
            Ok(None) => false,
            Err(error) => {
                tracing::debug!(
                    office = self.name,
                    error = chain(&error),
                    "an office could not be taken"
                );
                false
            }
        }
    }

    /// Says whether nothing was done yet since it is held.
    pub(super) fn is_new(&self) -> bool {
        self.last.is_none()
    }

    /// Begins work, unless some is under way or was begun a moment ago.
    pub(super) fn keep_busy<F>(&mut self, work: impl FnOnce(CancellationToken) -> F)
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
        if self.last.is_some_and(|last| last.elapsed() < LOOK) {
            return;
        }
        self.last = Some(Instant::now());
        let stop = CancellationToken::new();
        self.work = Some((tokio::spawn(work(stop.clone())), stop));
    }

    /// Stops the work and gives the office back.
    pub(super) async fn resign(mut self) {
        if let Some((mut work, stop)) = self.work.take() {
            stop.cancel();
            if tokio::time::timeout(STOP, &mut work).await.is_err() {
                // What it does may be done again; a request that hangs must not hold up the end.
                work.abort();
            }
        }
        if let Some(lead) = self.lead.take() {
            lead.release().await;
        }
    }
}

impl Drop for Leader {
    /// Nothing is done in the name of an office that nobody holds any more.
    fn drop(&mut self) {
        if let Some((work, stop)) = self.work.take() {
            stop.cancel();
            work.abort();
        }
    }
}
