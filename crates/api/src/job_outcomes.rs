//! Hears of jobs that end, so that an answer which depends on one can wait for it, and of notices, for streams: the one
//! connection of an API process that listens.

use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use holdfast_db::{Database, Error, Listener, Signal, jobs};
use holdfast_domain::{JobId, JobState, ServerId};

/// How often a waiting request looks by itself, should a signal be lost.
const POLL: Duration = Duration::from_millis(500);

/// Hears of jobs that end.
#[derive(Debug)]
pub struct JobOutcomes {
    sender: broadcast::Sender<JobId>,
    notices: broadcast::Sender<Option<ServerId>>,
}

/// A request's ear, opened before it puts its job in, so that no end is missed.
#[derive(Debug)]
pub(crate) struct Subscription(broadcast::Receiver<JobId>);

impl JobOutcomes {
    /// Begins to listen until `shutdown`. It goes on by itself when the database was away.
    ///
    /// # Errors
    /// When the database can't be reached at the start.
    pub async fn listen(database: &Database, shutdown: CancellationToken) -> Result<Self, Error> {
        let mut listener = Listener::new(database).await?;
        let (sender, _) = broadcast::channel(1024);
        let to = sender.clone();
        let (notices, _) = broadcast::channel(1024);
        let to_streams = notices.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    signal = listener.next() => {
                        // Nobody waits most of the time; that is no failure.
                        match signal {
                            Signal::JobEnded(job) => {
                                let _nobody = to.send(job);
                            }
                            Signal::Event(server) => {
                                let _nobody = to_streams.send(Some(server));
                            }
                            Signal::Reconnected => {
                                let _nobody = to_streams.send(None);
                            }
                            Signal::JobAvailable { .. } => {}
                        }
                    }
                }
            }
        });
        Ok(Self { sender, notices })
    }

    pub(crate) fn subscribe(&self) -> Subscription {
        Subscription(self.sender.subscribe())
    }

    /// Hears of servers that there are notices about; `None` when any may have been missed.
    pub(crate) fn notices(&self) -> broadcast::Receiver<Option<ServerId>> {
        self.notices.subscribe()
    }
}

impl Subscription {
    /// Waits until `job` has ended, or `deadline`; returns its state then.
    ///
    /// # Errors
    /// When the database can't be read.
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
            let look_again = (Instant::now() + POLL).min(deadline);
            let _either = tokio::time::timeout_at(look_again, self.heard(job)).await;
        }
    }

    /// Returns when `job` was signalled, or when signals were missed.
    async fn heard(&mut self, job: JobId) {
        loop {
            match self.0.recv().await {
                Ok(other) if other != job => {}
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}
