//! Streams of events: what becomes of a server's backups, told to everybody who listens.
//!
//! One task a process hears of notices and reads each once, however many
//! streams there are, and looks once a second how far jobs are, only while there
//! are streams. A stream that falls behind reads for itself what it missed.

mod feed;
mod frame;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use holdfast_db::{Database, Error, events, jobs};
use holdfast_domain::error_chain::chain;
use holdfast_domain::key::KeyIdentifier;
use holdfast_domain::{JobId, ServerId};

pub(crate) use self::feed::Feed;
use self::frame::Frame;
use crate::error::ApiError;
use crate::job_outcomes::JobOutcomes;

/// How often progress is looked at.
const PROGRESS: Duration = Duration::from_secs(1);
/// After how many of those looks notices are looked for that nobody has called about.
const LOOK_EVERY: u32 = 15;
/// How many notices of one server are read at once.
const BATCH: u32 = 100;
/// How many frames a stream may be behind before it reads for itself.
const BEHIND: usize = 256;

/// How many streams there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// In this process.
    pub in_all: usize,
    /// With one key, in this process.
    pub by_key: usize,
}

/// Every stream of this process.
#[derive(Debug)]
pub struct Streams {
    limits: StreamLimits,
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Nothing more is told: the process ends.
    has_ended: bool,
    in_all: usize,
    by_key: HashMap<KeyIdentifier, usize>,
    topics: HashMap<ServerId, Topic>,
}

/// A server that somebody listens to.
#[derive(Debug)]
struct Topic {
    sender: broadcast::Sender<Frame>,
    streams: usize,
    /// The last notice that was told, or that there was when the topic began.
    number: i64,
    /// How far its jobs were when that was last looked at.
    progress: HashMap<JobId, frame::Shown>,
}

/// A stream's place: it counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    streams: Arc<Streams>,
    key: KeyIdentifier,
    server: ServerId,
}

impl Streams {
    /// Begins to tell, until `stop`; then every stream ends.
    pub fn begin(
        database: &Database,
        finals: &JobOutcomes,
        limits: StreamLimits,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let streams = Arc::new(Self {
            limits,
            shared: Mutex::default(),
        });
        let heard = finals.notices();
        tokio::spawn(tell(Arc::clone(&streams), database.clone(), heard, stop));
        streams
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a stream about `server`, of which notice `newest` is known to be the last one, and begins to
    /// listen. What the server's jobs are doing now comes first.
    ///
    /// # Errors
    /// [`ApiError::TooManyStreams`], or [`ApiError::Unavailable`] when the process ends.
    fn sit(
        self: &Arc<Self>,
        key: &KeyIdentifier,
        server: ServerId,
        newest: i64,
    ) -> Result<(Seat, broadcast::Receiver<Frame>, Vec<Frame>), ApiError> {
        let mut shared = self.shared();
        if shared.has_ended {
            return Err(ApiError::Unavailable);
        }
        let of_key = shared.by_key.get(key).copied().unwrap_or(0);
        if shared.in_all >= self.limits.in_all || of_key >= self.limits.by_key {
            return Err(ApiError::TooManyStreams);
        }
        shared.in_all += 1;
        shared.by_key.insert(key.clone(), of_key + 1);
        let topic = shared.topics.entry(server).or_insert_with(|| Topic {
            sender: broadcast::channel(BEHIND).0,
            streams: 0,
            number: newest,
            progress: HashMap::new(),
        });
        topic.streams += 1;
        let now = topic.progress.values().map(|shown| shown.frame.clone());
        let now = now.collect();
        let ear = topic.sender.subscribe();
        let seat = Seat {
            streams: Arc::clone(self),
            key: key.clone(),
            server,
        };
        Ok((seat, ear, now))
    }

    /// What is listened to: each server with the last notice of it that was told.
    fn heard_to(&self, only: Option<ServerId>) -> Vec<(ServerId, i64)> {
        let shared = self.shared();
        let topics = shared.topics.iter();
        let wanted = topics.filter(|(server, _)| only.is_none_or(|only| only == **server));
        wanted
            .map(|(server, topic)| (*server, topic.number))
            .collect()
    }

    /// Reads what is new, of one server or of all, and tells it.
    async fn tell_notices(&self, database: &Database, only: Option<ServerId>) -> Result<(), Error> {
        loop {
            let wanted = self.heard_to(only);
            if wanted.is_empty() {
                return Ok(());
            }
            let found = events::list_after(database, &wanted, BATCH).await?;
            let is_all = found.len() < BATCH as usize;
            let mut shared = self.shared();
            for notice in found {
                if let Some(topic) = shared.topics.get_mut(&notice.server)
                    && notice.number > topic.number
                {
                    topic.number = notice.number;
                    // Who listened may have gone just now.
                    let _nobody = topic.sender.send(Frame::notice(&notice));
                }
            }
            if is_all {
                return Ok(());
            }
        }
    }

    /// Looks how far jobs are, and tells what has changed.
    async fn tell_progress(&self, database: &Database) -> Result<(), Error> {
        let servers: Vec<ServerId> = self.shared().topics.keys().copied().collect();
        if servers.is_empty() {
            return Ok(());
        }
        let found = jobs::list_unfinished(database, &servers).await?;
        let mut shared = self.shared();
        for server in servers {
            let Some(topic) = shared.topics.get_mut(&server) else {
                continue;
            };
            let mut before = std::mem::take(&mut topic.progress);
            for job in found.iter().filter(|job| job.server == server) {
                let shown = frame::Shown::after(before.remove(&job.id).as_ref(), job);
                if shown.is_new {
                    let _nobody = topic.sender.send(shown.frame.clone());
                }
                topic.progress.insert(job.id, shown);
            }
        }
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut shared = self.streams.shared();
        shared.in_all = shared.in_all.saturating_sub(1);
        if let Some(count) = shared.by_key.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                shared.by_key.remove(&self.key);
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

async fn tell(
    streams: Arc<Streams>,
    database: Database,
    mut heard: broadcast::Receiver<Option<ServerId>>,
    stop: CancellationToken,
) {
    let mut look = tokio::time::interval(PROGRESS);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut round: u32 = 0;
    loop {
        let told = tokio::select! {
            () = stop.cancelled() => break,
            of = heard.recv() => match of {
                Ok(of) => streams.tell_notices(&database, of).await,
                Err(broadcast::error::RecvError::Lagged(_)) => streams.tell_notices(&database, None).await,
                Err(broadcast::error::RecvError::Closed) => break,
            },
            _ = look.tick() => {
                round = round.wrapping_add(1);
                match round.is_multiple_of(LOOK_EVERY) {
                    true => streams.tell_notices(&database, None).await,
                    false => streams.tell_progress(&database).await,
                }
            }
        };
        if let Err(error) = told {
            tracing::warn!(
                error = chain(&error),
                "streams could not be told what is new"
            );
        }
    }
    let mut shared = streams.shared();
    shared.has_ended = true;
    // With its sender each stream ends.
    shared.topics.clear();
}
