//! Answers many questions with one query.
//!
//! What clients poll is asked by many at once, and a query costs far more than the row it returns: a
//! round trip, the start of a plan, three wake-ups. Questions that come while a query is under way are
//! therefore gathered, and asked together as soon as it has ended, or there are enough of them for one of
//! their own. A question that comes alone is asked at once. Nothing is kept: each answer was read after its
//! question came.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::error::Error;

/// How many queries run side by side. More would only make each of them carry less.
const LANES: usize = 2;
/// How many questions wait before they get a query beside one that is under way. A query costs as much as half a dozen
/// questions: fewer had better share the next one, as long as that keeps no processor idle.
const WORTH_A_LANE: usize = 8;
/// How many questions one query carries at most.
const TOGETHER: usize = 64;
/// How long a query may take, the wait for a connection included. A database that has stopped answering is away: those
/// who ask are told so, rather than kept.
const ANSWER: Duration = Duration::from_secs(10);
/// How many questions wait before the next one waits to be heard.
const WAITING: usize = 1024;

/// Gathers questions `Q` and hands out answers `A`.
#[derive(Debug)]
pub(crate) struct Batcher<Q, A> {
    questions: mpsc::Sender<Waiting<Q, A>>,
}

#[derive(Debug)]
struct Waiting<Q, A> {
    question: Q,
    answer: oneshot::Sender<Result<A, Error>>,
}

impl<Q: Send + 'static, A: Send + 'static> Batcher<Q, A> {
    /// Begins to answer, until this is dropped. `ask` returns one answer for each question, in order.
    pub(crate) fn begin<F, Asked>(ask: F) -> Self
    where
        F: Fn(Vec<Q>) -> Asked + Send + Sync + 'static,
        Asked: Future<Output = Result<Vec<Result<A, Error>>, Error>> + Send + 'static,
    {
        Self::begin_within(ANSWER, ask)
    }

    fn begin_within<F, Asked>(patience: Duration, ask: F) -> Self
    where
        F: Fn(Vec<Q>) -> Asked + Send + Sync + 'static,
        Asked: Future<Output = Result<Vec<Result<A, Error>>, Error>> + Send + 'static,
    {
        let (questions, heard) = mpsc::channel(WAITING);
        tokio::spawn(gather(heard, patience, ask));
        Self { questions }
    }

    /// Asks one question.
    ///
    /// # Errors
    /// Whatever the query that carried it ran into.
    pub(crate) async fn ask(&self, question: Q) -> Result<A, Error> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { question, answer };
        if self.questions.send(waiting).await.is_err() {
            return Err(closed());
        }
        answered.await.unwrap_or_else(|_| Err(closed()))
    }
}

/// The gatherer ends only with its runtime: then the database is closed as well.
fn closed() -> Error {
    Error::Unavailable(sqlx::Error::PoolClosed)
}

async fn gather<Q, A, F, Asked>(
    mut heard: mpsc::Receiver<Waiting<Q, A>>,
    patience: Duration,
    ask: F,
) where
    A: Send + 'static,
    F: Fn(Vec<Q>) -> Asked,
    Asked: Future<Output = Result<Vec<Result<A, Error>>, Error>> + Send + 'static,
{
    let mut waiting: Vec<Waiting<Q, A>> = Vec::new();
    let mut under_way = JoinSet::new();
    loop {
        let room = TOGETHER - waiting.len();
        tokio::select! {
            heard = heard.recv_many(&mut waiting, room), if room > 0 => {
                if heard == 0 {
                    break;
                }
            }
            Some(ended) = under_way.join_next() => {
                // Whoever has come meanwhile would wait as long again, and hear the same.
                if let Ok(Some(error)) = ended {
                    while let Ok(next) = heard.try_recv() {
                        waiting.push(next);
                    }
                    tell(waiting.drain(..).map(|waiting| waiting.answer), &error);
                }
            }
        }
        let worth_it = match under_way.len() {
            0 => 1,
            _ => WORTH_A_LANE,
        };
        if under_way.len() < LANES && waiting.len() >= worth_it {
            let (questions, answers): (Vec<Q>, Vec<_>) = waiting
                .drain(..)
                .map(|waiting| (waiting.question, waiting.answer))
                .unzip();
            under_way.spawn(answer(ask(questions), answers, patience));
        }
    }
    // Those who were heard are answered.
    while under_way.join_next().await.is_some() {}
}

/// Hands out what a query answers; returns a failure that may pass, which others would run into as well.
async fn answer<A>(
    asked: impl Future<Output = Result<Vec<Result<A, Error>>, Error>>,
    answers: Vec<oneshot::Sender<Result<A, Error>>>,
    patience: Duration,
) -> Option<Arc<Error>> {
    let asked = tokio::time::timeout(patience, asked).await;
    match asked.unwrap_or_else(|_| Err(Error::Unavailable(sqlx::Error::PoolTimedOut))) {
        Ok(found) => {
            for (answer, found) in answers.into_iter().zip(found) {
                // Somebody who no longer waits for an answer is no failure.
                let _gone = answer.send(found);
            }
            None
        }
        Err(error) => {
            let error = Arc::new(error);
            tell(answers, &error);
            error.may_pass().then_some(error)
        }
    }
}

fn tell<A>(
    answers: impl IntoIterator<Item = oneshot::Sender<Result<A, Error>>>,
    error: &Arc<Error>,
) {
    for answer in answers {
        let _gone = answer.send(Err(Error::Shared(Arc::clone(error))));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn questions_that_come_during_a_query_share_the_next_and_each_gets_its_own_answer() {
        let queries = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(Semaphore::new(0));
        let (counted, passed) = (Arc::clone(&queries), Arc::clone(&gate));
        let gather = Arc::new(Batcher::begin(move |questions: Vec<u32>| {
            counted.fetch_add(1, Ordering::SeqCst);
            let passed = Arc::clone(&passed);
            async move {
                passed.acquire().await.expect("open").forget();
                Ok(questions.into_iter().map(|q| Ok(q * 2)).collect())
            }
        }));
        let mut asked: Vec<_> = (0..40_u32)
            .map(|question| {
                let gather = Arc::clone(&gather);
                tokio::spawn(async move { (question, gather.ask(question).await) })
            })
            .collect();
        // All are heard before the first answer.
        tokio::task::yield_now().await;
        gate.add_permits(40);
        for asked in asked.drain(..) {
            let (question, answer) = asked.await.expect("it ends");
            assert_eq!(answer.expect("an answer"), question * 2);
        }
        assert!(queries.load(Ordering::SeqCst) < 10, "{queries:?}");
    }

    #[tokio::test]
    async fn a_failure_reaches_everybody_and_the_next_question_is_asked_again() {
        let broken = Arc::new(AtomicUsize::new(1));
        let left = Arc::clone(&broken);
        let gather = Batcher::begin(move |questions: Vec<u32>| {
            let fails = left.swap(0, Ordering::SeqCst) == 1;
            async move {
                if fails {
                    return Err(Error::Unavailable(sqlx::Error::PoolTimedOut));
                }
                Ok(questions.into_iter().map(Ok).collect())
            }
        });
        let failed = gather.ask(1).await;
        assert!(failed.is_err_and(|error| error.may_pass()));
        assert_eq!(gather.ask(2).await.expect("an answer"), 2);
    }

    #[tokio::test]
    async fn a_database_that_has_stopped_answering_is_away() {
        let gather = Batcher::begin_within(Duration::from_millis(1), |questions: Vec<u32>| async {
            if questions.contains(&1) {
                std::future::pending::<()>().await;
            }
            Ok(questions.into_iter().map(Ok).collect())
        });
        let failed = gather.ask(1).await;
        assert!(failed.is_err_and(|error| error.may_pass()));
        assert_eq!(gather.ask(2).await.expect("an answer"), 2);
    }
}
