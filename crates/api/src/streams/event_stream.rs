//! One event stream: first the events that the client missed, then new ones.
//!
//! The stream ends when the client closes it, when the process stops, or when the client loses its
//! access to the server.

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

use super::sse_event::SseEvent;
use super::{BATCH, StreamPermit};
use crate::auth::StreamCredentials;
use crate::error::ApiError;
use crate::state::ApiState;

/// After how much silence a comment is sent, so that proxies keep the connection open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How often the client's access is checked again.
const ACCESS_CHECK: Duration = Duration::from_secs(5);
/// How long a client waits before it reconnects, in milliseconds.
const RECONNECT_MS: u32 = 3000;

/// An event stream about one server.
pub(crate) struct EventStream {
    state: Data<ApiState>,
    credentials: StreamCredentials,
    server: ServerId,
    receiver: broadcast::Receiver<SseEvent>,
    /// What is sent next.
    queue: VecDeque<Bytes>,
    /// The number of the last event that was queued.
    last_event: i64,
    /// Whether events have to be read from the database, since `receiver` may not get them.
    is_behind: bool,
    keep_alive_at: Instant,
    check_access_at: Instant,
    _permit: StreamPermit,
}

impl EventStream {
    /// Opens a stream. It starts after the event with the number `last_seen`, or with new events.
    ///
    /// # Errors
    /// [`ApiError::TooManyStreams`], or [`ApiError::Unavailable`] if the database is unavailable or
    /// the process is shutting down.
    pub(crate) async fn open(
        state: Data<ApiState>,
        credentials: StreamCredentials,
        server: ServerId,
        last_seen: Option<i64>,
    ) -> Result<Self, ApiError> {
        let stored = events::range(&state.database).await?;
        // A number above the newest one comes from another database.
        let after = last_seen.filter(|seen| (0..=stored.newest).contains(seen));
        let is_complete = match after {
            Some(after) => stored.oldest.is_none_or(|oldest| oldest <= after + 1),
            None => last_seen.is_none(),
        };
        let last_event = after.unwrap_or(stored.newest);
        // Subscribed before the missed events are read, so that no event is lost in between.
        let streams = &state.streams;
        let (permit, receiver, progress) = streams
            .subscribe_soon(credentials.subject(), server, stored.newest)
            .await?;
        let mut queue = VecDeque::from([
            Bytes::from(format!("retry: {RECONNECT_MS}\n\n")),
            SseEvent::ready(last_event, is_complete).bytes,
        ]);
        queue.extend(progress.into_iter().map(|event| event.bytes));
        Ok(Self {
            state,
            credentials,
            server,
            receiver,
            queue,
            last_event,
            is_behind: true,
            keep_alive_at: Instant::now() + KEEP_ALIVE,
            check_access_at: Instant::now() + ACCESS_CHECK,
            _permit: permit,
        })
    }

    /// Waits for the next bytes to send. Returns `None` when the stream ends.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.check_access_at <= Instant::now() {
                self.check_access_at = Instant::now() + ACCESS_CHECK;
                if !self.has_access().await {
                    return None;
                }
            }
            if let Some(bytes) = self.queue.pop_front() {
                self.keep_alive_at = Instant::now() + KEEP_ALIVE;
                return Some(bytes);
            }
            if self.is_behind && self.catch_up().await {
                continue;
            }
            tokio::select! {
                received = self.receiver.recv() => match received {
                    Ok(event) => self.queue_event(event),
                    Err(RecvError::Lagged(_)) => self.is_behind = true,
                    Err(RecvError::Closed) => return None,
                },
                () = tokio::time::sleep_until(self.keep_alive_at) => {
                    self.queue.push_back(SseEvent::comment().bytes);
                }
                () = tokio::time::sleep_until(self.check_access_at) => {}
            }
        }
    }

    fn queue_event(&mut self, event: SseEvent) {
        match event.number {
            // Already queued, or to be read in order by `catch_up`.
            Some(number) if number <= self.last_event || self.is_behind => {}
            Some(number) => {
                self.last_event = number;
                self.queue.push_back(event.bytes);
            }
            None => self.queue.push_back(event.bytes),
        }
    }

    /// Queues the missed events. Returns `false` if the database is unavailable; a later call tries
    /// again.
    async fn catch_up(&mut self) -> bool {
        let position = [(self.server, self.last_event)];
        match events::list_after(&self.state.database, &position, BATCH).await {
            Ok(events) => {
                self.is_behind = events.len() == BATCH as usize;
                for event in &events {
                    self.last_event = event.number;
                    self.queue.push_back(SseEvent::of_server(event).bytes);
                }
                true
            }
            Err(error) => {
                tracing::warn!(
                    error = chain(&error),
                    "cannot read the missed events of a stream"
                );
                false
            }
        }
    }

    /// Returns whether the client may still read the events. While the database is unavailable, it
    /// may, since there are no new events.
    async fn has_access(&self) -> bool {
        match self.credentials.current_access(&self.state).await {
            Ok(Some((server, access))) => server.id == self.server && access.may(Action::List),
            Err(ApiError::Unavailable) => true,
            Ok(None) | Err(_) => false,
        }
    }
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("EventStream").field(&self.server).finish()
    }
}
