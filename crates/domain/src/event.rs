//! Events: what happens to backups and schedules, in one JSON format for webhooks and event
//! streams.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::id::{BackupId, ServerId};
use crate::schedule::ScheduleId;

/// The kinds of events that a webhook can subscribe to. Triggers in `migrations/0011_backups.sql`,
/// `0012_jobs.sql` and `0027_events_of_schedules.sql` write them.
pub const EVENT_KINDS: [&str; 13] = [
    "backup.created",
    "backup.completed",
    "backup.failed",
    "backup.changed",
    "backup.deleted",
    "restore.created",
    "restore.completed",
    "restore.failed",
    "verification.passed",
    "verification.failed",
    "verification.inconclusive",
    "schedule.failed",
    "schedule.missed",
];

/// The kind of the event that tests a webhook. It is never stored.
pub const TEST_EVENT_KIND: &str = "webhook.test";

/// The ID of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WebhookId(pub Uuid);

impl fmt::Display for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// A state change of a backup or a schedule of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerEvent {
    /// Its sequence number. A reader that has seen a number has seen every earlier event.
    pub number: i64,
    /// Its ID, the same in every delivery.
    pub id: Uuid,
    /// Its kind, such as `backup.completed`: one of [`EVENT_KINDS`], or one of a later version.
    pub kind: String,
    /// The server.
    pub server: ServerId,
    /// The server's name at that time.
    pub server_name: String,
    /// The backup, if the event is about one.
    pub backup: Option<BackupId>,
    /// The backup at that time; `None` if it was already deleted.
    pub snapshot: Option<BackupSnapshot>,
    /// The schedule at that time, if the event is about one.
    pub schedule: Option<ScheduleSnapshot>,
    /// The reason of a failure, as a sentence.
    pub error: Option<String>,
    /// When it happened.
    pub at: DateTime<Utc>,
}

/// A backup at the time of an event, as the database's triggers store it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct BackupSnapshot {
    /// Its display name.
    pub name: String,
    /// `creating`, `completed` or `failed`.
    pub state: String,
    /// Size of the archive, in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the archive, in hexadecimal digits.
    pub sha256: Option<String>,
    /// Whether it was locked against deletion.
    pub is_locked: bool,
    /// Whether a schedule created it.
    pub is_scheduled: bool,
    /// The disk that holds its archive.
    pub disk: String,
    /// When it was requested.
    pub created_at: DateTime<Utc>,
    /// When its archive became complete and durable.
    pub completed_at: Option<DateTime<Utc>>,
    /// When it failed.
    pub failed_at: Option<DateTime<Utc>>,
    /// The earlier backup whose archive was reused. Events of earlier versions have neither this
    /// nor the next fields.
    #[serde(default)]
    pub reused_from: Option<BackupId>,
    /// How many bytes of the archive come from that one.
    #[serde(default)]
    pub reused_bytes: Option<u64>,
    /// How many bytes of server files were read.
    #[serde(default)]
    pub read_bytes: Option<u64>,
    /// By how many bytes the disk grew.
    #[serde(default)]
    pub stored_bytes: Option<u64>,
}

/// A schedule at the time of an event, as the database's triggers store it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ScheduleSnapshot {
    /// Its ID.
    pub id: ScheduleId,
    /// Its name; `None` if it was already deleted.
    pub name: Option<String>,
    /// The due time of the run. Of several missed ones, the latest.
    pub due_at: DateTime<Utc>,
    /// The number of due times that were missed.
    pub missed: u32,
    /// The first due time that was missed.
    pub missed_since: Option<DateTime<Utc>>,
}

/// The JSON format of an event. Later versions may add fields, but never remove one.
#[derive(Clone, Debug, Serialize)]
pub struct EventBody<'a> {
    id: Uuid,
    /// 0 for a test event, which has no sequence number.
    sequence: i64,
    event: &'a str,
    created_at: String,
    server: Option<ServerBody<'a>>,
    backup: Option<BackupBody<'a>>,
    schedule: Option<ScheduleBody<'a>>,
    error: Option<&'a str>,
}

#[derive(Clone, Debug, Serialize)]
struct ServerBody<'a> {
    uuid: ServerId,
    identifier: String,
    name: &'a str,
}

#[derive(Clone, Debug, Serialize)]
struct BackupBody<'a> {
    uuid: BackupId,
    name: Option<&'a str>,
    status: Option<&'a str>,
    bytes: Option<u64>,
    sha256_hash: Option<&'a str>,
    is_locked: Option<bool>,
    is_scheduled: Option<bool>,
    disk: Option<&'a str>,
    created_at: Option<String>,
    completed_at: Option<String>,
    failed_at: Option<String>,
    reused_from: Option<BackupId>,
    reused_bytes: Option<u64>,
    read_bytes: Option<u64>,
    stored_bytes: Option<u64>,
}

#[derive(Clone, Debug, Serialize)]
struct ScheduleBody<'a> {
    id: ScheduleId,
    name: Option<&'a str>,
    due_at: String,
    missed: u32,
    missed_since: Option<String>,
}

impl ServerEvent {
    /// Returns the event in its JSON format.
    pub fn body(&self) -> EventBody<'_> {
        let snapshot = self.snapshot.as_ref();
        EventBody {
            id: self.id,
            sequence: self.number,
            event: &self.kind,
            created_at: format_time(self.at),
            server: Some(ServerBody {
                uuid: self.server,
                identifier: self.server.short(),
                name: &self.server_name,
            }),
            backup: self.backup.map(|uuid| BackupBody {
                uuid,
                name: snapshot.map(|backup| backup.name.as_str()),
                status: snapshot.map(|backup| backup.state.as_str()),
                bytes: snapshot.map(|backup| backup.size_bytes),
                sha256_hash: snapshot.and_then(|backup| backup.sha256.as_deref()),
                is_locked: snapshot.map(|backup| backup.is_locked),
                is_scheduled: snapshot.map(|backup| backup.is_scheduled),
                disk: snapshot.map(|backup| backup.disk.as_str()),
                created_at: snapshot.map(|backup| format_time(backup.created_at)),
                completed_at: snapshot
                    .and_then(|backup| backup.completed_at)
                    .map(format_time),
                failed_at: snapshot
                    .and_then(|backup| backup.failed_at)
                    .map(format_time),
                reused_from: snapshot.and_then(|backup| backup.reused_from),
                reused_bytes: snapshot.and_then(|backup| backup.reused_bytes),
                read_bytes: snapshot.and_then(|backup| backup.read_bytes),
                stored_bytes: snapshot.and_then(|backup| backup.stored_bytes),
            }),
            schedule: self.schedule.as_ref().map(|schedule| ScheduleBody {
                id: schedule.id,
                name: schedule.name.as_deref(),
                due_at: format_time(schedule.due_at),
                missed: schedule.missed,
                missed_since: schedule.missed_since.map(format_time),
            }),
            error: self.error.as_deref(),
        }
    }
}

impl EventBody<'_> {
    /// Returns the event's ID.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Returns an event that tests a webhook: of the kind [`TEST_EVENT_KIND`], without a backup or
    /// a schedule.
    pub fn test(id: Uuid, now: DateTime<Utc>) -> Self {
        Self {
            id,
            sequence: 0,
            event: TEST_EVENT_KIND,
            created_at: format_time(now),
            server: None,
            backup: None,
            schedule: None,
            error: None,
        }
    }
}

fn format_time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, false)
}
