//! The one pool of a process, and transactions from it.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Connection as _, Executor, PgConnection, Postgres};

use holdfast_domain::TraceContext;

use crate::error::Error;

/// How long after its last use a connection is taken to stand.
const TRUSTED: Duration = Duration::from_secs(1);
/// How many broken connections one question may meet: more than a pool has of them.
const BROKEN: u32 = 64;
/// How long a caller waits for a connection before it is told that there is none.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Up to how many rows a list is counted, so that asking stays cheap when there are millions.
pub(crate) const COUNT_MAX: i64 = 100_000;

/// Turns a list's offset into what Postgres takes. What lies behind the last row that is counted
/// is not shown either.
pub(crate) fn skip(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(COUNT_MAX).min(COUNT_MAX)
}

/// The database: a pool of connections. Cloning it is cheap and shares the pool.
#[derive(Clone, Debug)]
pub struct Database {
    pool: PgPool,
}

/// A transaction. Dropped without [`Transaction::commit`], it is rolled back.
#[derive(Debug)]
pub struct Transaction {
    inner: sqlx::Transaction<'static, Postgres>,
    trace: Option<TraceContext>,
}

/// How many connections a process has open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUse {
    /// Those that somebody works with.
    pub used: u32,
    /// Those that wait for work.
    pub idle: u32,
    /// How many there may be in all.
    pub most: u32,
}

/// Asks once more for each connection that has broken since it was last used: only who asks finds that out. For what
/// only reads.
pub(crate) async fn read_again<Q: Clone, A, Reading>(
    database: Database,
    questions: Vec<Q>,
    read: impl Fn(Database, Vec<Q>) -> Reading,
) -> Result<A, Error>
where
    Reading: Future<Output = Result<A, Error>>,
{
    for _ in 0..BROKEN {
        match read(database.clone(), questions.clone()).await {
            Err(error) if error.is_broken_connection() => {}
            ended => return ended,
        }
    }
    read(database, questions).await
}

impl Database {
    /// Connects to `url`, and proves it with one connection.
    ///
    /// # Errors
    /// [`Error::Url`] when `url` is none, [`Error::Unavailable`] when nobody answers there.
    pub async fn connect(url: &str, max_connections: u32) -> Result<Self, Error> {
        let options = PgConnectOptions::from_str(url)
            .map_err(Error::Url)?
            .application_name("holdfast");
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // Asking whether a connection still stands costs as much as a query. One that was used a moment ago is
            // taken at its word; where it has broken since, that query says so.
            .test_before_acquire(false)
            .before_acquire(|connection, used| {
                Box::pin(async move {
                    if used.idle_for >= TRUSTED {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .after_connect(|connection, _| {
                Box::pin(async move {
                    // Planning takes longer than running these queries, and none of them is better off for knowing
                    // its arguments: the plan is made once for each connection.
                    connection
                        .execute("SET plan_cache_mode = force_generic_plan")
                        .await?;
                    Ok(())
                })
            })
            .connect_with(options)
            .await?;
        Ok(Self { pool })
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// When no connection is to be had.
    pub async fn begin(&self) -> Result<Transaction, Error> {
        Ok(Transaction {
            inner: self.pool.begin().await?,
            trace: None,
        })
    }

    /// Checks that the database answers.
    ///
    /// # Errors
    /// When it doesn't.
    pub async fn ping(&self) -> Result<(), Error> {
        sqlx::query!("SELECT 1 AS one")
            .fetch_one(&self.pool)
            .await?;
        Ok(())
    }

    /// Says how many connections are open now. It asks nobody.
    pub fn pool_use(&self) -> PoolUse {
        let idle = u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX);
        PoolUse {
            used: self.pool.size().saturating_sub(idle),
            idle,
            most: self.pool.options().get_max_connections(),
        }
    }

    /// Closes every connection once its work is done.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }
}

impl Transaction {
    /// The same transaction, for a request: the jobs that it puts in carry the request's name.
    #[must_use]
    pub fn of(self, trace: TraceContext) -> Self {
        let trace = Some(trace);
        Self { trace, ..self }
    }

    pub(crate) fn trace(&self) -> Option<TraceContext> {
        self.trace
    }

    /// Makes everything that was done in it true, at once.
    ///
    /// # Errors
    /// When it can't be; then nothing of it is true, unless the connection broke while the answer
    /// was on its way.
    pub async fn commit(self) -> Result<(), Error> {
        Ok(self.inner.commit().await?)
    }

    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.inner
    }
}
