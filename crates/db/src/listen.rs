//! Notifications between processes, with LISTEN and NOTIFY. They may be lost with a connection, so
//! every receiver also polls.

use std::time::Duration;

use sqlx::postgres::PgListener;

use holdfast_domain::{JobId, ServerId};

use crate::error::Error;
use crate::pool::Database;

/// The channel for jobs that became available. The payload is the node.
pub(crate) const JOB_AVAILABLE: &str = "holdfast_job_available";
/// The channel for jobs that have ended. The payload is the ID of the job.
pub(crate) const JOB_ENDED: &str = "holdfast_job_ended";
/// The channel for events. The payload is the server. The SQL function `record_event` notifies it.
const EVENT: &str = "holdfast_event";

/// A notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// A job became available for this node.
    JobAvailable {
        /// The name of the node.
        node: String,
    },
    /// A job has ended.
    JobEnded(JobId),
    /// An event of this server was recorded.
    Event(ServerId),
    /// The connection was lost and established again. Notifications may have been missed.
    Reconnected,
}

/// Receives notifications on a connection of its own, outside the pool.
#[derive(Debug)]
pub struct Listener(PgListener);

impl Listener {
    /// Starts to listen. Notifications that are sent after this has returned are received.
    ///
    /// # Errors
    /// If the database can't be reached.
    pub async fn new(database: &Database) -> Result<Self, Error> {
        let mut listener = PgListener::connect_with(database.pool()).await?;
        listener
            .listen_all([JOB_AVAILABLE, JOB_ENDED, EVENT])
            .await?;
        Ok(Self(listener))
    }

    /// Waits for the next notification. While the database is unavailable, this reconnects once a
    /// second.
    pub async fn next(&mut self) -> Signal {
        loop {
            match self.0.try_recv().await {
                Ok(Some(notification)) => {
                    let payload = notification.payload();
                    let signal = match notification.channel() {
                        JOB_AVAILABLE => Some(Signal::JobAvailable {
                            node: payload.to_owned(),
                        }),
                        JOB_ENDED => payload.parse().ok().map(|id| Signal::JobEnded(JobId(id))),
                        _ => ServerId::parse(payload).map(Signal::Event),
                    };
                    if let Some(signal) = signal {
                        return signal;
                    }
                }
                Ok(None) => return Signal::Reconnected,
                Err(error) => {
                    tracing::debug!(%error, "cannot listen for notifications; trying again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}
