//! Event streams: publishes the events of a server's backups to the clients that listen.
//!
//! One task per process reads each event once, regardless of the number of streams. While there are
//! streams, it also reads the progress of jobs once a second. A stream that falls behind reads the
//! events that it missed from the database by itself.

pub(crate) mod event_stream;
mod sse_event;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use holdfast_db::{Database, Error, events, jobs};
use holdfast_domain::error_chain::chain;
use holdfast_domain::{JobId, ServerId};

use self::sse_event::{ProgressEvent, SseEvent};
use crate::error::ApiError;
use crate::notifications::Notifications;

/// How often the progress of jobs is read.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
/// After how many of these intervals all events are read, in case a notification was lost.
const EVENTS_EVERY: u32 = 15;
/// How many events are read at once.
const BATCH: u32 = 100;
/// How many events a stream may be behind before it has to read from the database.
const QUEUE_LENGTH: usize = 256;

/// How often a stream that finds no place looks for streams whose clients have gone. The first
/// comment to such a client is answered with a reset, and a later one fails.
const PROBES: u32 = 5;
/// The time between these comments.
const PROBE_INTERVAL: Duration = Duration::from_millis(100);

/// What a new stream gets: its claim, the coming events, and the current progress of jobs.
type Subscription = (StreamPermit, broadcast::Receiver<SseEvent>, Vec<SseEvent>);

/// The limits of open streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// The largest number of streams in this process.
    pub in_all: usize,
    /// The largest number of streams with one key in this process.
    pub by_key: usize,
}

/// The open streams of this process.
#[derive(Debug)]
pub struct Streams {
    limits: StreamLimits,
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Whether the process is shutting down. Then no new streams are accepted.
    is_closed: bool,
    in_all: usize,
    by_caller: HashMap<String, usize>,
    topics: HashMap<ServerId, Topic>,
    /// When the streams were last sent a comment, to find those whose clients have gone.
    probed_at: Option<Instant>,
}

/// A server with open streams.
#[derive(Debug)]
struct Topic {
    sender: broadcast::Sender<SseEvent>,
    /// The number of streams.
    streams: usize,
    /// The number of the last published event, or of the newest one when the topic was created.
    last_event: i64,
    /// The progress of the server's jobs when it was last read.
    progress: HashMap<JobId, ProgressEvent>,
}

/// The claim of a stream on the limits. It is released on drop.
#[derive(Debug)]
struct StreamPermit {
    streams: Arc<Streams>,
    /// The name under which the caller's streams are counted.
    caller: String,
    server: ServerId,
}

impl Streams {
    /// Starts publishing, until `stop`. Then all streams end.
    pub fn begin(
        database: &Database,
        notifications: &Notifications,
        limits: StreamLimits,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let streams = Arc::new(Self {
            limits,
            shared: Mutex::default(),
        });
        let events = notifications.events();
        tokio::spawn(publish(
            Arc::clone(&streams),
            database.clone(),
            events,
            stop,
        ));
        streams
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Subscribes a stream to the events of `server`. `newest` is the number of the newest event in
    /// the database. Also returns the current progress of the server's jobs.
    ///
    /// # Errors
    /// [`ApiError::TooManyStreams`], or [`ApiError::Unavailable`] if the process is shutting down.
    fn subscribe(
        self: &Arc<Self>,
        caller: &str,
        server: ServerId,
        newest: i64,
    ) -> Result<Subscription, ApiError> {
        let mut shared = self.shared();
        if shared.is_closed {
            return Err(ApiError::Unavailable);
        }
        let with_key = shared.by_caller.get(caller).copied().unwrap_or(0);
        if shared.in_all >= self.limits.in_all || with_key >= self.limits.by_key {
            return Err(ApiError::TooManyStreams);
        }
        shared.in_all += 1;
        shared.by_caller.insert(caller.to_owned(), with_key + 1);
        let topic = shared.topics.entry(server).or_insert_with(|| Topic {
            sender: broadcast::channel(QUEUE_LENGTH).0,
            streams: 0,
            last_event: newest,
            progress: HashMap::new(),
        });
        topic.streams += 1;
        let progress = topic.progress.values().map(|job| job.event.clone());
        let progress = progress.collect();
        let receiver = topic.sender.subscribe();
        let permit = StreamPermit {
            streams: Arc::clone(self),
            caller: caller.to_owned(),
            server,
        };
        Ok((permit, receiver, progress))
    }

    /// Subscribes a stream like [`Streams::subscribe`]. If all places are taken, it finds the
    /// streams whose clients have gone: that shows only when something is sent to them.
    async fn subscribe_soon(
        self: &Arc<Self>,
        caller: &str,
        server: ServerId,
        newest: i64,
    ) -> Result<Subscription, ApiError> {
        for _ in 0..PROBES {
            match self.subscribe(caller, server, newest) {
                Err(ApiError::TooManyStreams) => {
                    self.probe();
                    tokio::time::sleep(PROBE_INTERVAL).await;
                }
                subscribed => return subscribed,
            }
        }
        self.subscribe(caller, server, newest)
    }

    /// Sends a comment to every stream, at most once per [`PROBE_INTERVAL`].
    fn probe(&self) {
        let mut shared = self.shared();
        let now = Instant::now();
        if shared
            .probed_at
            .is_none_or(|before| now.duration_since(before) >= PROBE_INTERVAL)
        {
            shared.probed_at = Some(now);
            for topic in shared.topics.values() {
                let _no_receiver = topic.sender.send(SseEvent::comment());
            }
        }
    }

    /// Returns the servers with open streams, or `only` one of them, each with its last published
    /// event.
    fn published(&self, only: Option<ServerId>) -> Vec<(ServerId, i64)> {
        let shared = self.shared();
        let topics = shared.topics.iter();
        let selected = topics.filter(|(server, _)| only.is_none_or(|only| only == **server));
        selected
            .map(|(server, topic)| (*server, topic.last_event))
            .collect()
    }

    /// Reads and publishes the new events of all servers, or of `only` one.
    async fn publish_events(
        &self,
        database: &Database,
        only: Option<ServerId>,
    ) -> Result<(), Error> {
        loop {
            let published = self.published(only);
            if published.is_empty() {
                return Ok(());
            }
            let events = events::list_after(database, &published, BATCH).await?;
            let is_last_batch = events.len() < BATCH as usize;
            let mut shared = self.shared();
            for event in events {
                if let Some(topic) = shared.topics.get_mut(&event.server)
                    && event.number > topic.last_event
                {
                    topic.last_event = event.number;
                    // Fails if the last stream has just ended.
                    let _no_receiver = topic.sender.send(SseEvent::of_server(&event));
                }
            }
            if is_last_batch {
                return Ok(());
            }
        }
    }

    /// Reads the progress of jobs, and publishes what has changed.
    async fn publish_progress(&self, database: &Database) -> Result<(), Error> {
        let servers: Vec<ServerId> = self.shared().topics.keys().copied().collect();
        if servers.is_empty() {
            return Ok(());
        }
        let jobs = jobs::list_unfinished(database, &servers).await?;
        let mut shared = self.shared();
        for server in servers {
            let Some(topic) = shared.topics.get_mut(&server) else {
                continue;
            };
            let mut before = std::mem::take(&mut topic.progress);
            for job in jobs.iter().filter(|job| job.server == server) {
                let progress = ProgressEvent::after(before.remove(&job.id).as_ref(), job);
                if progress.is_new {
                    let _no_receiver = topic.sender.send(progress.event.clone());
                }
                topic.progress.insert(job.id, progress);
            }
        }
        Ok(())
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut shared = self.streams.shared();
        shared.in_all = shared.in_all.saturating_sub(1);
        if let Some(count) = shared.by_caller.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                shared.by_caller.remove(&self.caller);
            }
        }
        if let Some(topic) = shared.topics.get_mut(&self.server) {
            topic.streams -= 1;
            if topic.streams == 0 {
                shared.topics.remove(&self.server);
            }
        }
    }
}

async fn publish(
    streams: Arc<Streams>,
    database: Database,
    mut notifications: broadcast::Receiver<Option<ServerId>>,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut tick: u32 = 0;
    loop {
        let published = tokio::select! {
            () = stop.cancelled() => break,
            notified = notifications.recv() => match notified {
                Ok(server) => streams.publish_events(&database, server).await,
                Err(RecvError::Lagged(_)) => streams.publish_events(&database, None).await,
                Err(RecvError::Closed) => break,
            },
            _ = ticks.tick() => {
                tick = tick.wrapping_add(1);
                match tick.is_multiple_of(EVENTS_EVERY) {
                    true => streams.publish_events(&database, None).await,
                    false => streams.publish_progress(&database).await,
                }
            }
        };
        if let Err(error) = published {
            tracing::warn!(error = chain(&error), "cannot publish events to streams");
        }
    }
    let mut shared = streams.shared();
    shared.is_closed = true;
    // Dropping the senders ends the streams.
    shared.topics.clear();
}
