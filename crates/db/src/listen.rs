//! Wake-up calls through LISTEN and NOTIFY. They may be lost with a connection,
//! so whoever waits for one polls as well.

use std::time::Duration;

use sqlx::postgres::PgListener;

use holdfast_domain::{JobId, ServerId};

use crate::error::Error;
use crate::pool::Database;

/// A job became available; the payload is its node.
pub(crate) const AVAILABLE: &str = "holdfast_available";
/// A job came to its end; the payload is its id.
pub(crate) const FINAL: &str = "holdfast_final";

/// A notice was written; the payload is its server. Triggers send it.
const NOTICE: &str = "holdfast_event";

/// Something that a listener was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// A job became available for this node.
    Available {
        /// The node's name.
        node: String,
    },
    /// A job came to its end.
    Final(JobId),
    /// There is a notice about this server.
    Notice(ServerId),
    /// The connection was lost and made again: anything may have been missed.
    Reconnected,
}

/// Listens on a connection of its own, out of the pool.
#[derive(Debug)]
pub struct Listener(PgListener);

impl Listener {
    /// Begins to listen. What is signalled after this has returned is not missed.
    ///
    /// # Errors
    /// When the database can't be reached.
    pub async fn new(database: &Database) -> Result<Self, Error> {
        let mut listener = PgListener::connect_with(database.pool()).await?;
        listener.listen_all([AVAILABLE, FINAL, NOTICE]).await?;
        Ok(Self(listener))
    }

    /// Waits for the next signal.
    ///
    /// While the database is away it goes on trying, once a second.
    pub async fn next(&mut self) -> Signal {
        loop {
            match self.0.try_recv().await {
                Ok(Some(notification)) => {
                    let payload = notification.payload();
                    let signal = match notification.channel() {
                        AVAILABLE => Some(Signal::Available {
                            node: payload.to_owned(),
                        }),
                        FINAL => payload.parse().ok().map(|id| Signal::Final(JobId(id))),
                        _ => ServerId::parse(payload).map(Signal::Notice),
                    };
                    if let Some(signal) = signal {
                        return signal;
                    }
                }
                Ok(None) => return Signal::Reconnected,
                Err(error) => {
                    tracing::debug!(%error, "listening failed; trying again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}
