//! One stream: what was missed, then what happens, until somebody ends it or the caller may no longer listen.

use std::collections::VecDeque;
use std::time::Duration;

use actix_web::web::{Bytes, Data};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use holdfast_db::events;
use holdfast_domain::ServerId;
use holdfast_domain::access::Action;
use holdfast_domain::error_chain::chain;

use super::frame::Frame;
use super::{BATCH, Seat};
use crate::auth::Pass;
use crate::error::ApiError;
use crate::state::ApiState;

/// How often a stream with nothing to say shows that it is there.
const BEAT: Duration = Duration::from_secs(15);
/// How often it is asked whether the caller may still listen.
const CHECK: Duration = Duration::from_secs(5);
/// How long a client waits before it comes back, in milliseconds.
const COME_BACK_MS: u32 = 3000;

/// A stream about one server.
pub(crate) struct Feed {
    state: Data<ApiState>,
    pass: Pass,
    server: ServerId,
    ear: broadcast::Receiver<Frame>,
    /// What is to be sent next.
    waiting: VecDeque<Bytes>,
    /// The last notice that was sent.
    number: i64,
    /// Whether there may be notices that the ear has not heard.
    is_behind: bool,
    beat: Instant,
    check: Instant,
    _seat: Seat,
}

impl Feed {
    /// Begins a stream after the notice that the caller has seen last, or from now on.
    ///
    /// # Errors
    /// When there are too many, or the database is away.
    pub(crate) async fn begin(
        state: Data<ApiState>,
        pass: Pass,
        server: ServerId,
        seen: Option<i64>,
    ) -> Result<Self, ApiError> {
        let kept = events::range(&state.database).await?;
        // A number that was never given is of another database.
        let after = seen.filter(|seen| (0..=kept.newest).contains(seen));
        let is_whole = match after {
            Some(after) => kept.oldest.is_none_or(|oldest| oldest <= after + 1),
            None => seen.is_none(),
        };
        let number = after.unwrap_or(kept.newest);
        // Listening begins before what was missed is read, so that nothing falls in between.
        let (seat, ear, now) = state.streams.sit(pass.key(), server, kept.newest)?;
        let mut waiting = VecDeque::from([
            Bytes::from(format!("retry: {COME_BACK_MS}\n\n")),
            Frame::ready(number, is_whole).bytes,
        ]);
        waiting.extend(now.into_iter().map(|frame| frame.bytes));
        Ok(Self {
            state,
            pass,
            server,
            ear,
            waiting,
            number,
            is_behind: true,
            beat: Instant::now() + BEAT,
            check: Instant::now() + CHECK,
            _seat: seat,
        })
    }

    /// Waits for what is to be sent next; nothing when the stream ends.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.check <= Instant::now() {
                self.check = Instant::now() + CHECK;
                if !self.may_listen().await {
                    return None;
                }
            }
            if let Some(bytes) = self.waiting.pop_front() {
                self.beat = Instant::now() + BEAT;
                return Some(bytes);
            }
            if self.is_behind && self.catch_up().await {
                continue;
            }
            tokio::select! {
                heard = self.ear.recv() => match heard {
                    Ok(frame) => self.hear(frame),
                    Err(RecvError::Lagged(_)) => self.is_behind = true,
                    Err(RecvError::Closed) => return None,
                },
                () = tokio::time::sleep_until(self.beat) => self.waiting.push_back(Frame::comment()),
                () = tokio::time::sleep_until(self.check) => {}
            }
        }
    }

    fn hear(&mut self, frame: Frame) {
        match frame.number {
            // Read already, or to be read in order.
            Some(number) if number <= self.number || self.is_behind => {}
            Some(number) => {
                self.number = number;
                self.waiting.push_back(frame.bytes);
            }
            None => self.waiting.push_back(frame.bytes),
        }
    }

    /// Reads what was missed; says whether that went well. While the database is away, the next look does it.
    async fn catch_up(&mut self) -> bool {
        let found =
            events::list_after(&self.state.database, &[(self.server, self.number)], BATCH).await;
        match found {
            Ok(found) => {
                self.is_behind = found.len() == BATCH as usize;
                for notice in &found {
                    self.number = notice.number;
                    self.waiting.push_back(Frame::notice(notice).bytes);
                }
                true
            }
            Err(error) => {
                tracing::warn!(
                    error = chain(&error),
                    "a stream could not read what it missed"
                );
                false
            }
        }
    }

    /// Says whether the caller may still listen. While the database is away there is nothing to hear.
    async fn may_listen(&self) -> bool {
        match self.pass.server(&self.state).await {
            Ok(Some((server, standing))) => server.id == self.server && standing.may(Action::List),
            Err(ApiError::Unavailable) => true,
            Ok(None) | Err(_) => false,
        }
    }
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Feed").field(&self.server).finish()
    }
}
