//! Locks that end with their holder: one process at a time does what only one should do.
//!
//! Each is held on a connection of its own, beside the pool. Postgres lets go of it when the connection ends,
//! however the process did; a process that was paused is cut off after a while.

use std::time::Duration;

use sqlx::{Connection, PgConnection};

use crate::error::Error;
use crate::pool::Database;

/// How long the database may take to say that it is there; after that the lock counts as lost.
const ANSWER: Duration = Duration::from_secs(5);

/// A lock that this process holds, as long as its connection lives.
#[derive(Debug)]
pub struct LeaderLock(PgConnection);

/// How a lock is lost when its holder shows no life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockTimeout {
    /// Within about 15 s without [`LeaderLock::holds`], even if the process still has its connections.
    Short,
    /// Only with the connection.
    Long,
}

impl LeaderLock {
    /// Takes the lock of this name if nobody has it.
    ///
    /// # Errors
    /// When the database can't be reached.
    pub async fn take(
        database: &Database,
        name: &str,
        patience: LockTimeout,
    ) -> Result<Option<Self>, Error> {
        let mut connection = database.pool().acquire().await?;
        let taken = sqlx::query_scalar!(
            r#"SELECT pg_try_advisory_lock(hashtextextended('holdfast ' || $1, 0)) AS "taken!""#,
            name
        )
        .fetch_one(&mut *connection)
        .await?;
        if !taken {
            return Ok(None);
        }
        // Out of the pool at once: whatever happens now, the lock ends with this connection.
        let mut connection = connection.detach();
        let idle = match patience {
            LockTimeout::Short => "15s",
            LockTimeout::Long => "0",
        };
        // A cable that was cut says nothing: Postgres asks. What this server's version doesn't know is left out.
        sqlx::query!(
            "SELECT set_config(name, value, false) FROM pg_settings JOIN (
                 VALUES ('idle_session_timeout', $1::text), ('tcp_keepalives_idle', '10'),
                        ('tcp_keepalives_interval', '5'), ('tcp_keepalives_count', '3')
             ) AS wanted (name, value) USING (name)",
            idle,
        )
        .fetch_all(&mut connection)
        .await?;
        Ok(Some(Self(connection)))
    }

    /// Says whether the lock is still held, which also shows that its holder lives.
    pub async fn holds(&mut self) -> bool {
        matches!(
            tokio::time::timeout(ANSWER, self.0.ping()).await,
            Ok(Ok(()))
        )
    }

    /// Gives the lock back.
    pub async fn resign(self) {
        // A connection that can't be closed is gone anyway, and the lock with it.
        let _gone = tokio::time::timeout(ANSWER, self.0.close()).await;
    }
}
