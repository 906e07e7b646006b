//! What others are told of backups: each state change as a notice, in one shape for webhooks and for streams.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::id::{BackupId, ServerId};

/// Every kind of notice that is kept, as the triggers of `migrations/0011_backups.sql` and
/// `0012_jobs.sql` write them: what a webhook may ask for.
pub const KINDS: [&str; 11] = [
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
];

/// What a webhook is told when somebody tries it out.
pub const TEST: &str = "webhook.test";

/// Names a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WebhookId(pub Uuid);

impl fmt::Display for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// Something that became true of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupEvent {
    /// Its place in the order of all notices. Whoever has seen one has missed none before it.
    pub number: i64,
    /// Its name: the same however often it is told.
    pub id: Uuid,
    /// What it is, such as `backup.completed`; one of [`KINDS`], or of a later version's.
    pub kind: String,
    /// Whose backup.
    pub server: ServerId,
    /// What that server was called.
    pub server_name: String,
    /// Which backup.
    pub backup: BackupId,
    /// The backup as it was then; none when it was gone already.
    pub as_it_was: Option<BackupSnapshot>,
    /// Why something failed, as a sentence.
    pub error: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
}

/// A backup at the time of a notice, as the database writes it down.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct BackupSnapshot {
    /// What people call it.
    pub name: String,
    /// `creating`, `completed` or `failed`.
    pub state: String,
    /// Size of the archive, in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the archive, in hexadecimal digits.
    pub sha256: Option<String>,
    /// Whether it is kept from deletion.
    pub is_locked: bool,
    /// Whether a schedule made it.
    pub is_scheduled: bool,
    /// The disk that holds its archive.
    pub disk: String,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it was whole and durable.
    pub completed_at: Option<DateTime<Utc>>,
    /// When it failed.
    pub failed_at: Option<DateTime<Utc>>,
}

/// A notice as others read it: fields may be added, none is ever removed.
#[derive(Clone, Debug, Serialize)]
pub struct EventBody<'a> {
    id: Uuid,
    /// 0 for a test, which has no place in the order.
    sequence: i64,
    event: &'a str,
    created_at: String,
    server: Option<ServerBody<'a>>,
    backup: Option<BackupBody<'a>>,
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
}

impl BackupEvent {
    /// Returns what others read.
    pub fn body(&self) -> EventBody<'_> {
        let was = self.as_it_was.as_ref();
        EventBody {
            id: self.id,
            sequence: self.number,
            event: &self.kind,
            created_at: date(self.at),
            server: Some(ServerBody {
                uuid: self.server,
                identifier: self.server.short(),
                name: &self.server_name,
            }),
            backup: Some(BackupBody {
                uuid: self.backup,
                name: was.map(|was| was.name.as_str()),
                status: was.map(|was| was.state.as_str()),
                bytes: was.map(|was| was.size_bytes),
                sha256_hash: was.and_then(|was| was.sha256.as_deref()),
                is_locked: was.map(|was| was.is_locked),
                is_scheduled: was.map(|was| was.is_scheduled),
                disk: was.map(|was| was.disk.as_str()),
                created_at: was.map(|was| date(was.created_at)),
                completed_at: was.and_then(|was| was.completed_at).map(date),
                failed_at: was.and_then(|was| was.failed_at).map(date),
            }),
            error: self.error.as_deref(),
        }
    }
}

impl EventBody<'_> {
    /// Returns the notice's name.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// What a webhook is sent when somebody tries it out.
    pub fn test(id: Uuid, now: DateTime<Utc>) -> Self {
        Self {
            id,
            sequence: 0,
            event: TEST,
            created_at: date(now),
            server: None,
            backup: None,
            error: None,
        }
    }
}

fn date(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, false)
}
