//! Notifications from the database: ended jobs, for requests that wait for one, and events, for
//! streams.
//!
//! Each API process listens on one connection. A lost notification only delays an answer, since
//! waiting requests also poll.

use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use holdfast_db::{Database, Error, Listener, Signal, jobs};
use holdfast_domain::{JobId, JobState, ServerId};

/// How often a waiting request reads the state of its job, in case a notification is lost.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Passes on the notifications from the database to the requests and streams of this process.
#[derive(Debug)]
pub struct Notifications {
    ended_jobs: broadcast::Sender<JobId>,
    events: broadcast::Sender<Option<ServerId>>,
}

/// A subscription to jobs that end. A request opens it before it enqueues its job, so that it
/// cannot miss the end.
#[derive(Debug)]
pub(crate) struct EndedJobs(broadcast::Receiver<JobId>);

impl Notifications {
    /// Starts listening, until `shutdown`. A lost connection is opened again.
    ///
    /// # Errors
    /// If the database cannot be reached at the start.
    pub async fn listen(database: &Database, shutdown: CancellationToken) -> Result<Self, Error> {
        let mut listener = Listener::new(database).await?;
        let (ended_jobs, _) = broadcast::channel(1024);
        let (events, _) = broadcast::channel(1024);
        let notifications = Self {
            ended_jobs: ended_jobs.clone(),
            events: events.clone(),
        };
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    signal = listener.next() => {
                        // `send` fails if there is no receiver, which is the usual case.
                        match signal {
                            Signal::JobEnded(job) => {
                                let _no_receiver = ended_jobs.send(job);
                            }
                            Signal::Event(server) => {
                                let _no_receiver = events.send(Some(server));
                            }
                            Signal::Reconnected => {
                                let _no_receiver = events.send(None);
                            }
                            Signal::JobAvailable { .. } => {}
                        }
                    }
                }
            }
        });
        Ok(notifications)
    }

    /// Subscribes to jobs that end.
    pub(crate) fn ended_jobs(&self) -> EndedJobs {
        EndedJobs(self.ended_jobs.subscribe())
    }

    /// Subscribes to servers that have new events. `None` means that notifications may have been
    /// lost.
    pub(crate) fn events(&self) -> broadcast::Receiver<Option<ServerId>> {
        self.events.subscribe()
    }
}

impl EndedJobs {
    /// Waits until `job` has ended or `deadline` has passed, and returns the state of the job.
    /// `None` means that the job no longer exists.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub(crate) async fn wait(
        &mut self,
        database: &Database,
        job: JobId,
        deadline: Instant,
    ) -> Result<Option<JobState>, Error> {
        loop {
            let state = jobs::state(database, job).await?.map(|(state, _)| state);
            if state.is_none_or(JobState::is_final) || Instant::now() >= deadline {
                return Ok(state);
            }
            let next_poll = (Instant::now() + POLL_INTERVAL).min(deadline);
            let _elapsed = tokio::time::timeout_at(next_poll, self.notified(job)).await;
        }
    }

    /// Waits for a notification about `job`, or for a sign that notifications were lost.
    async fn notified(&mut self, job: JobId) {
        loop {
            match self.0.recv().await {
                Ok(other) if other != job => {}
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}
