//! Locks that only one process at a time can hold, such as that of the leader.
//!
//! Each lock is held on a connection of its own, outside the pool. Postgres releases it when the
//! connection ends, however the process has ended. The connection of a process that is paused is
//! closed after a while.

use std::time::Duration;

use sqlx::{Connection, PgConnection};

use crate::error::Error;
use crate::pool::Database;

/// How long the database may take to answer. After that, the lock counts as lost.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A lock that this process holds while its connection is open.
#[derive(Debug)]
pub struct LeaderLock(PgConnection);

/// When Postgres releases a lock that its holder did not release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockTimeout {
    /// About 15 s after the last [`LeaderLock::is_held`], even if the connection is still open.
    Short,
    /// When the connection ends.
    Long,
}

impl LeaderLock {
    /// Acquires the lock of this name. Returns `None` if another process holds it.
    ///
    /// # Errors
    /// If the database can't be reached.
    pub async fn try_acquire(
        database: &Database,
        name: &str,
        timeout: LockTimeout,
    ) -> Result<Option<Self>, Error> {
        let mut connection = database.pool().acquire().await?;
        let acquired = sqlx::query_scalar!(
            r#"SELECT pg_try_advisory_lock(hashtextextended('holdfast ' || $1, 0)) AS "acquired!""#,
            name
        )
        .fetch_one(&mut *connection)
        .await?;
        if !acquired {
            return Ok(None);
        }
        // Detached from the pool at once, so that the lock ends with this connection in any case.
        let mut connection = connection.detach();
        let idle_timeout = match timeout {
            LockTimeout::Short => "15s",
            LockTimeout::Long => "0",
        };
        // With keepalives, Postgres notices a lost network. The join leaves out settings that this
        // version of Postgres does not have.
        sqlx::query!(
            "SELECT set_config(name, value, false) FROM pg_settings JOIN (
                 VALUES ('idle_session_timeout', $1::text), ('tcp_keepalives_idle', '10'),
                        ('tcp_keepalives_interval', '5'), ('tcp_keepalives_count', '3')
             ) AS wanted (name, value) USING (name)",
            idle_timeout,
        )
        .fetch_all(&mut connection)
        .await?;
        Ok(Some(Self(connection)))
    }

    /// Returns whether the lock is still held. The check also keeps the connection from timing out.
    pub async fn is_held(&mut self) -> bool {
        matches!(
            tokio::time::timeout(ANSWER_TIMEOUT, self.0.ping()).await,
            Ok(Ok(()))
        )
    }

    /// Releases the lock.
    pub async fn release(self) {
        // If the connection can't be closed, it is gone, and so is the lock.
        let _gone = tokio::time::timeout(ANSWER_TIMEOUT, self.0.close()).await;
    }
}
