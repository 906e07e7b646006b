//! The connection pool of a process, and its transactions.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Connection as _, Executor, PgConnection, Postgres};

use holdfast_domain::TraceContext;

use crate::error::Error;

/// A connection that was used within this time is not checked before it is used again.
const UNCHECKED_IDLE_TIME: Duration = Duration::from_secs(1);
/// After how many broken connections a read fails. A pool has fewer connections.
const MAX_BROKEN_CONNECTIONS: u32 = 64;
/// How long a caller waits for a connection before the call fails.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// The settings of each session. A role or a database can have other values.
///
/// - Planning takes longer than running these queries, and none of them needs a plan for its
///   arguments. So each connection plans a query once.
/// - What was confirmed must not be lost when Postgres crashes. Other values than `off` are about
///   standbys, and stay.
/// - Time limits would end migrations, and connections that wait for notifications. Only newer
///   versions of Postgres have the last two.
const SESSION_SETTINGS: &str = "
    SET plan_cache_mode = force_generic_plan;
    SET standard_conforming_strings = on;
    SET default_transaction_isolation = 'read committed';
    SET statement_timeout = 0;
    SET lock_timeout = 0;
    SET idle_in_transaction_session_timeout = 0;
    SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') = 'off';
    SELECT set_config(name, '0', false)
    FROM unnest(ARRAY['idle_session_timeout', 'transaction_timeout']) AS name
    WHERE current_setting(name, true) IS NOT NULL;
";

/// The greatest total of a list. Counting stops there, so that it stays cheap with millions of
/// rows.
pub(crate) const COUNT_MAX: i64 = 100_000;

/// Converts the offset of a page for Postgres. Rows after the last counted one are not listed.
pub(crate) fn clamp_offset(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(COUNT_MAX).min(COUNT_MAX)
}

/// The database: a pool of connections. A clone shares the pool.
#[derive(Clone, Debug)]
pub struct Database {
    pool: PgPool,
}

/// A transaction. If it is dropped without [`Transaction::commit`], it is rolled back.
#[derive(Debug)]
pub struct Transaction {
    inner: sqlx::Transaction<'static, Postgres>,
    trace: Option<TraceContext>,
}

/// The number of open connections of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUse {
    /// Connections in use.
    pub used: u32,
    /// Idle connections.
    pub idle: u32,
    /// The greatest number of connections.
    pub max: u32,
}

/// Runs a read, and repeats it after each broken connection. That a connection has broken since its
/// last use shows only when it is used. `read` must not write anything.
pub(crate) async fn retry_read<Q: Clone, A, Reading>(
    database: Database,
    requests: Vec<Q>,
    read: impl Fn(Database, Vec<Q>) -> Reading,
) -> Result<A, Error>
where
    Reading: Future<Output = Result<A, Error>>,
{
    for _ in 0..MAX_BROKEN_CONNECTIONS {
        match read(database.clone(), requests.clone()).await {
            Err(error) if error.is_broken_connection() => {}
            ended => return ended,
        }
    }
    read(database, requests).await
}

/// Connects a pool, and opens its first connection. A connection that could not be set up is tried
/// again: until then, a time limit of its role or database can end any statement.
async fn connect_pool(
    options: PgConnectOptions,
    max_connections: u32,
) -> Result<PgPool, sqlx::Error> {
    PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A check of the connection costs as much as a query. So connections that were used a
        // moment ago are not checked. If such a connection has broken, the query fails.
        .test_before_acquire(false)
        .before_acquire(|connection, used| {
            Box::pin(async move {
                if used.idle_for >= UNCHECKED_IDLE_TIME {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .after_connect(|connection, _| {
            Box::pin(async move {
                connection.execute(SESSION_SETTINGS).await?;
                Ok(())
            })
        })
        .connect_with(options)
        .await
}

impl Database {
    /// Connects to `url` and opens the first connection.
    ///
    /// # Errors
    /// [`Error::Url`] if `url` is not a valid URL. [`Error::Unavailable`] if no database answers
    /// there.
    pub async fn connect(url: &str, max_connections: u32) -> Result<Self, Error> {
        let options = PgConnectOptions::from_str(url)
            .map_err(Error::Url)?
            // PgBouncer refuses connections with this parameter, and every supported version of
            // Postgres returns exact numbers without it.
            .extra_float_digits(None)
            .application_name("holdfast");
        let pool = connect_pool(options, max_connections).await?;
        Ok(Self { pool })
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// If no connection is available.
    pub async fn begin(&self) -> Result<Transaction, Error> {
        Ok(Transaction {
            inner: self.pool.begin().await?,
            trace: None,
        })
    }

    /// Checks that the database answers.
    ///
    /// # Errors
    /// If it does not.
    pub async fn ping(&self) -> Result<(), Error> {
        sqlx::query!("SELECT 1 AS one")
            .fetch_one(&self.pool)
            .await?;
        Ok(())
    }

    /// Returns the number of open connections. This sends no query.
    pub fn pool_use(&self) -> PoolUse {
        let idle = u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX);
        PoolUse {
            used: self.pool.size().saturating_sub(idle),
            idle,
            max: self.pool.options().get_max_connections(),
        }
    }

    /// Closes every connection when its current work is done.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Opens one more connection, beside those of the pool.
    pub(crate) async fn connect_once_more(&self) -> Result<PgPool, Error> {
        let options = self.pool.connect_options().as_ref().clone();
        Ok(connect_pool(options, 1).await?)
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }
}

impl Transaction {
    /// Adds the trace of a request to the jobs that the transaction enqueues.
    #[must_use]
    pub fn with_trace(self, trace: TraceContext) -> Self {
        let trace = Some(trace);
        Self { trace, ..self }
    }

    pub(crate) fn trace(&self) -> Option<TraceContext> {
        self.trace
    }

    /// Commits the transaction.
    ///
    /// # Errors
    /// If it can't be committed. Then nothing was changed, unless the connection broke before the
    /// answer arrived.
    pub async fn commit(self) -> Result<(), Error> {
        Ok(self.inner.commit().await?)
    }

    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.inner
    }
}
