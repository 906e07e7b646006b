//! Combines requests that arrive at the same time into one query.
//!
//! Many clients poll, and a query costs far more than the row that it returns: a round trip, the
//! start of a plan, three wake-ups. So requests that arrive while a query runs are collected. They
//! share one query as soon as that one has ended, or earlier once there are enough of them. A
//! single request runs at once. Nothing is cached: each reply is read after its request arrived.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::error::Error;

/// How many batches run at the same time. More would only make each batch smaller.
const CONCURRENT_BATCHES: usize = 2;
/// How many waiting requests start a second batch while one runs. To start a query costs as much as
/// about six requests, so fewer requests are cheaper as a part of the next batch.
const BATCH_THRESHOLD: usize = 8;
/// The greatest number of requests in a batch.
const BATCH_SIZE: usize = 64;
/// How long a batch may take, including the wait for a connection. After that, the database counts
/// as unavailable and the requests fail.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How many requests may be queued before callers wait.
const QUEUE_LENGTH: usize = 1024;

/// Collects requests `Q` into batches and returns a reply `A` to each.
#[derive(Debug)]
pub(crate) struct Batcher<Q, A> {
    queue: mpsc::Sender<Pending<Q, A>>,
}

/// A request whose caller waits for the reply.
#[derive(Debug)]
struct Pending<Q, A> {
    request: Q,
    reply: ReplySender<A>,
}

type ReplySender<A> = oneshot::Sender<Result<A, Error>>;

impl<Q: Send + 'static, A: Send + 'static> Batcher<Q, A> {
    /// Starts a batcher. It runs until it is dropped. `run` returns one reply for each request of a
    /// batch, in order.
    pub(crate) fn start<F, Batch>(run: F) -> Self
    where
        F: Fn(Vec<Q>) -> Batch + Send + Sync + 'static,
        Batch: Future<Output = Result<Vec<Result<A, Error>>, Error>> + Send + 'static,
    {
        Self::start_with_timeout(TIMEOUT, run)
    }

    fn start_with_timeout<F, Batch>(timeout: Duration, run: F) -> Self
    where
        F: Fn(Vec<Q>) -> Batch + Send + Sync + 'static,
        Batch: Future<Output = Result<Vec<Result<A, Error>>, Error>> + Send + 'static,
    {
        let (queue, requests) = mpsc::channel(QUEUE_LENGTH);
        tokio::spawn(run_batches(requests, timeout, run));
        Self { queue }
    }

    /// Adds a request to the next batch and returns the reply.
    ///
    /// # Errors
    /// The error of the batch, which all of its requests get.
    pub(crate) async fn request(&self, request: Q) -> Result<A, Error> {
        let (reply, received) = oneshot::channel();
        if self.queue.send(Pending { request, reply }).await.is_err() {
            return Err(closed());
        }
        received.await.unwrap_or_else(|_| Err(closed()))
    }
}

/// Returns the error for a batcher whose task has ended. The task ends only with its runtime, when
/// the database is closed as well.
fn closed() -> Error {
    Error::Unavailable(sqlx::Error::PoolClosed)
}

async fn run_batches<Q, A, F, Batch>(
    mut requests: mpsc::Receiver<Pending<Q, A>>,
    timeout: Duration,
    run: F,
) where
    A: Send + 'static,
    F: Fn(Vec<Q>) -> Batch,
    Batch: Future<Output = Result<Vec<Result<A, Error>>, Error>> + Send + 'static,
{
    let mut pending: Vec<Pending<Q, A>> = Vec::new();
    let mut running = JoinSet::new();
    loop {
        let room = BATCH_SIZE - pending.len();
        tokio::select! {
            received = requests.recv_many(&mut pending, room), if room > 0 => {
                if received == 0 {
                    break;
                }
            }
            Some(ended) = running.join_next() => {
                // Requests that have arrived meanwhile fail at once. They would get the same error
                // after the same wait.
                if let Ok(Some(error)) = ended {
                    while let Ok(next) = requests.try_recv() {
                        pending.push(next);
                    }
                    send_error(pending.drain(..).map(|pending| pending.reply), &error);
                }
            }
        }
        let threshold = match running.len() {
            0 => 1,
            _ => BATCH_THRESHOLD,
        };
        if running.len() < CONCURRENT_BATCHES && pending.len() >= threshold {
            let (batch, replies): (Vec<Q>, Vec<_>) = pending
                .drain(..)
                .map(|pending| (pending.request, pending.reply))
                .unzip();
            running.spawn(run_batch(run(batch), replies, timeout));
        }
    }
    // Batches that were started still get their replies.
    while running.join_next().await.is_some() {}
}

/// Runs a batch and sends its replies. Returns a temporary error, so that the caller can fail the
/// waiting requests with it.
async fn run_batch<A>(
    batch: impl Future<Output = Result<Vec<Result<A, Error>>, Error>>,
    replies: Vec<ReplySender<A>>,
    timeout: Duration,
) -> Option<Arc<Error>> {
    let results = tokio::time::timeout(timeout, batch).await;
    match results.unwrap_or_else(|_| Err(Error::Unavailable(sqlx::Error::PoolTimedOut))) {
        Ok(results) => {
            for (reply, result) in replies.into_iter().zip(results) {
                // A caller that no longer waits is not an error.
                let _gone = reply.send(result);
            }
            None
        }
        Err(error) => {
            let error = Arc::new(error);
            send_error(replies, &error);
            error.is_temporary().then_some(error)
        }
    }
}

fn send_error<A>(replies: impl IntoIterator<Item = ReplySender<A>>, error: &Arc<Error>) {
    for reply in replies {
        let _gone = reply.send(Err(Error::Shared(Arc::clone(error))));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn requests_that_arrive_during_a_query_share_the_next_and_each_gets_its_own_reply() {
        let queries = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(Semaphore::new(0));
        let (counted, passed) = (Arc::clone(&queries), Arc::clone(&gate));
        let batcher = Arc::new(Batcher::start(move |batch: Vec<u32>| {
            counted.fetch_add(1, Ordering::SeqCst);
            let passed = Arc::clone(&passed);
            async move {
                passed.acquire().await.expect("open").forget();
                Ok(batch.into_iter().map(|number| Ok(number * 2)).collect())
            }
        }));
        let mut callers: Vec<_> = (0..40_u32)
            .map(|number| {
                let batcher = Arc::clone(&batcher);
                tokio::spawn(async move { (number, batcher.request(number).await) })
            })
            .collect();
        // All have arrived before the first reply.
        tokio::task::yield_now().await;
        gate.add_permits(40);
        for caller in callers.drain(..) {
            let (number, reply) = caller.await.expect("it ends");
            assert_eq!(reply.expect("a reply"), number * 2);
        }
        assert!(queries.load(Ordering::SeqCst) < 10, "{queries:?}");
    }

    #[tokio::test]
    async fn a_failure_reaches_all_requests_and_the_next_request_runs_again() {
        let broken = Arc::new(AtomicUsize::new(1));
        let left = Arc::clone(&broken);
        let batcher = Batcher::start(move |batch: Vec<u32>| {
            let fails = left.swap(0, Ordering::SeqCst) == 1;
            async move {
                if fails {
                    return Err(Error::Unavailable(sqlx::Error::PoolTimedOut));
                }
                Ok(batch.into_iter().map(Ok).collect())
            }
        });
        let failed = batcher.request(1).await;
        assert!(failed.is_err_and(|error| error.is_temporary()));
        assert_eq!(batcher.request(2).await.expect("a reply"), 2);
    }

    #[tokio::test]
    async fn a_database_that_stops_answering_is_unavailable() {
        let batcher =
            Batcher::start_with_timeout(Duration::from_millis(1), |batch: Vec<u32>| async {
                if batch.contains(&1) {
                    std::future::pending::<()>().await;
                }
                Ok(batch.into_iter().map(Ok).collect())
            });
        let failed = batcher.request(1).await;
        assert!(failed.is_err_and(|error| error.is_temporary()));
        assert_eq!(batcher.request(2).await.expect("a reply"), 2);
    }
}
