//! What a request of the client API is about, in one question: the key it brings, that key's user, the
//! server it names with what the user is to it, and the backup it names.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use holdfast_domain::key::KeyIdentifier;
use holdfast_domain::{Backup, BackupId, Permission, Server, ServerRef, Standing};

use crate::backups;
use crate::connect::{Database, read_again};
use crate::error::Error;
use crate::gather::Gather;
use crate::keys::{self, KeyOfUser};
use crate::marks::Marks;
use crate::servers;

/// What a request names.
#[derive(Clone, Debug)]
pub struct Named {
    /// The public part of the key.
    pub key: KeyIdentifier,
    /// The server, where it names one.
    pub server: Option<ServerRef>,
    /// The backup, where it names one.
    pub backup: Option<BackupId>,
}

/// What is there of it.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The key with its user. Whether it may be used, `ApiKey::check` says.
    pub key: KeyOfUser,
    /// The server, if the user has a part in it, and which.
    pub server: Option<(Server, Standing)>,
    /// The backup, if it is that server's.
    pub backup: Option<Backup>,
    /// Which marks the server's lists had, where the request names a server and no backup.
    pub marks: Marks,
}

/// Answers what requests name, many with one query.
#[derive(Debug)]
pub struct Visits(Gather<Named, Option<Visit>>);

impl Visits {
    /// Begins to answer.
    pub fn begin(database: &Database) -> Self {
        let database = database.clone();
        Self(Gather::begin(move |named| {
            read_again(database.clone(), named, find)
        }))
    }

    /// Finds what a request names; nothing when there is no such key.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn find(&self, named: Named) -> Result<Option<Visit>, Error> {
        self.0.ask(named).await
    }
}

struct Row {
    place: i64,
    identifier: String,
    user_id: Uuid,
    kind: String,
    profile: String,
    secret_hash: Vec<u8>,
    description: String,
    allowed_ips: Vec<String>,
    expires_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    is_admin: bool,
    email: String,
    server_id: Option<Uuid>,
    server_owner_id: Option<Uuid>,
    server_name: Option<String>,
    server_directory: Option<String>,
    server_node: Option<String>,
    server_disk: Option<String>,
    server_state: Option<String>,
    server_backup_limit: Option<i32>,
    server_max_backup_bytes: Option<i64>,
    server_quota_bytes: Option<i64>,
    server_retention_days: Option<i32>,
    server_keep: Option<String>,
    server_rotate: Option<bool>,
    server_created_at: Option<DateTime<Utc>>,
    server_placed_by: Option<String>,
    permissions: Option<Vec<String>>,
    backup_id: Option<Uuid>,
    backup_name: Option<String>,
    backup_ignored_files: Option<Vec<String>>,
    backup_disk: Option<String>,
    backup_node: Option<String>,
    backup_state: Option<String>,
    backup_is_locked: Option<bool>,
    backup_is_scheduled: Option<bool>,
    backup_size_bytes: Option<i64>,
    backup_sha256: Option<Vec<u8>>,
    backup_archive_attempt: Option<i32>,
    backup_notes_count: Option<i64>,
    backup_notes: Option<Vec<String>>,
    backup_error: Option<String>,
    backup_created_at: Option<DateTime<Utc>>,
    backup_completed_at: Option<DateTime<Utc>>,
    backup_failed_at: Option<DateTime<Utc>>,
    verification: Option<String>,
    verification_started_at: Option<DateTime<Utc>>,
    verification_finished_at: Option<DateTime<Utc>>,
    verification_sentence: Option<String>,
    damaged_at: Option<DateTime<Utc>>,
    unfinished_state: Option<String>,
    unfinished_progress: Option<Value>,
    verify_state: Option<String>,
    verify_started_at: Option<DateTime<Utc>>,
    restore_state: Option<String>,
    restore_started_at: Option<DateTime<Utc>>,
    restore_finalized_at: Option<DateTime<Utc>>,
    restore_error: Option<String>,
    marks: Vec<Uuid>,
}

async fn find(
    database: Database,
    named: Vec<Named>,
) -> Result<Vec<Result<Option<Visit>, Error>>, Error> {
    let keys: Vec<String> = named.iter().map(|n| n.key.to_string()).collect();
    // Both names of a server hold the short one, which has the unique index.
    let shorts: Vec<String> = named
        .iter()
        .map(|n| match &n.server {
            Some(ServerRef::Id(id)) => id.short(),
            Some(ServerRef::Short(short)) => short.clone(),
            None => String::new(),
        })
        .collect();
    let servers: Vec<Option<Uuid>> = named
        .iter()
        .map(|n| match &n.server {
            Some(ServerRef::Id(id)) => Some(id.0),
            _ => None,
        })
        .collect();
    let backups: Vec<Option<Uuid>> = named.iter().map(|n| n.backup.map(|id| id.0)).collect();
    // LIMIT 1 has each question walk the indexes, however many there are: joined freely, fifty questions
    // look like a reason to read the tables as a whole. The restores are named as `jobs_restores` names them. A server
    // that the caller has no part in is none from the first: nothing that belongs to it is looked for.
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT q.place AS "place!", k.identifier AS "identifier!", k.user_id AS "user_id!", k.kind AS "kind!",
                k.profile AS "profile!", k.secret_hash AS "secret_hash!", k.description AS "description!",
                k.allowed_ips AS "allowed_ips!", k.expires_at AS "expires_at?", k.created_at AS "created_at!",
                k.is_admin AS "is_admin!", k.email AS "email!",
                s.id AS "server_id?", s.owner_id AS "server_owner_id?", s.name AS "server_name?",
                s.directory AS "server_directory?", s.node AS "server_node?", s.disk AS "server_disk?",
                s.state AS "server_state?", s.backup_limit AS "server_backup_limit?",
                s.max_backup_bytes AS "server_max_backup_bytes?", s.quota_bytes AS "server_quota_bytes?",
                s.retention_days AS "server_retention_days?", s.keep AS "server_keep?", s.rotate AS "server_rotate?", s.created_at AS "server_created_at?",
                s.placed_by AS "server_placed_by?", s.permissions AS "permissions?",
                b.id AS "backup_id?", b.name AS "backup_name?", b.ignored_files AS "backup_ignored_files?",
                b.disk AS "backup_disk?", b.node AS "backup_node?", b.state AS "backup_state?", b.is_locked AS "backup_is_locked?",
                b.is_scheduled AS "backup_is_scheduled?", b.size_bytes AS "backup_size_bytes?",
                b.sha256 AS "backup_sha256?", b.archive_attempt AS "backup_archive_attempt?",
                b.notes_count AS "backup_notes_count?", b.notes AS "backup_notes?", b.error AS "backup_error?",
                b.created_at AS "backup_created_at?", b.completed_at AS "backup_completed_at?",
                b.failed_at AS "backup_failed_at?",
                b.verification AS "verification?", b.verification_started_at AS "verification_started_at?",
                b.verification_finished_at AS "verification_finished_at?",
                b.verification_sentence AS "verification_sentence?", b.damaged_at AS "damaged_at?",
                u.state AS "unfinished_state?", u.progress AS "unfinished_progress?",
                u.verify_state AS "verify_state?", u.verify_started_at AS "verify_started_at?",
                r.state AS "restore_state?", r.started_at AS "restore_started_at?",
                r.finalized_at AS "restore_finalized_at?", r.errors -> -1 ->> 'sentence' AS "restore_error?",
                ARRAY(SELECT m.mark FROM list_marks m WHERE m.server_id = s.id AND q.backup IS NULL) AS "marks!"
           FROM unnest($1::text[], $2::text[], $3::uuid[], $4::uuid[])
                WITH ORDINALITY AS q (key, short, server, backup, place)
           CROSS JOIN LATERAL (
               SELECT keys.*, a.is_admin, a.email FROM api_keys keys JOIN users a ON a.id = keys.user_id
               WHERE keys.identifier = q.key LIMIT 1
           ) k
           LEFT JOIN LATERAL (
               SELECT f.*, p.permissions FROM servers f
               LEFT JOIN LATERAL (
                   SELECT permissions FROM subusers
                   WHERE server_id = f.id AND user_id = k.user_id AND NOT k.is_admin AND f.owner_id <> k.user_id LIMIT 1
               ) p ON true
               WHERE f.identifier = q.short AND (q.server IS NULL OR f.id = q.server) AND f.deleting_at IS NULL
                   AND (f.owner_id = k.user_id OR k.is_admin OR p.permissions IS NOT NULL) LIMIT 1
           ) s ON true
           LEFT JOIN LATERAL (SELECT * FROM backups WHERE id = q.backup AND server_id = s.id AND s.id IS NOT NULL LIMIT 1) b ON true
           LEFT JOIN LATERAL (
               SELECT (array_agg(j.state ORDER BY j.priority, j.id DESC)
                           FILTER (WHERE j.kind <> 'verify_backup' OR j.state = 'running'))[1] AS state,
                      (array_agg(j.progress ORDER BY j.priority, j.id DESC)
                           FILTER (WHERE j.kind <> 'verify_backup' OR j.state = 'running'))[1] AS progress,
                      max(j.state) FILTER (WHERE j.kind = 'verify_backup') AS verify_state,
                      max(j.started_at) FILTER (WHERE j.kind = 'verify_backup') AS verify_started_at
               FROM jobs j
               WHERE j.server_id = s.id AND j.backup_id = b.id AND j.state IN ('available', 'scheduled', 'running')
           ) u ON true
           LEFT JOIN LATERAL (
               SELECT j.state, j.started_at, j.finalized_at, j.errors FROM jobs j
               WHERE j.server_id = s.id AND j.backup_id = b.id AND (j.kind = 'restore_backup') IS TRUE
               ORDER BY j.id DESC LIMIT 1
           ) r ON true"#,
        &keys,
        &shorts,
        &servers as &[Option<Uuid>],
        &backups as &[Option<Uuid>],
    )
    .fetch_all(database.pool())
    .await?;
    let mut found: Vec<_> = named.iter().map(|_| Ok(None)).collect();
    for row in rows {
        let place = usize::try_from(row.place - 1).unwrap_or(usize::MAX);
        if let Some(found) = found.get_mut(place) {
            *found = Visit::try_from(row).map(Some);
        }
    }
    Ok(found)
}

impl TryFrom<Row> for Visit {
    type Error = Error;

    fn try_from(mut row: Row) -> Result<Self, Error> {
        let server = row.take_server();
        let backup = row.take_backup();
        let key = KeyOfUser::try_from(keys::Row {
            identifier: row.identifier,
            user_id: row.user_id,
            kind: row.kind,
            profile: row.profile,
            secret_hash: row.secret_hash,
            description: row.description,
            allowed_ips: row.allowed_ips,
            expires_at: row.expires_at,
            created_at: row.created_at,
            is_admin: row.is_admin,
            email: row.email,
        })?;
        let server = server.map(Server::try_from).transpose()?;
        let server = server.and_then(|server| {
            let standing = standing(&server, &key, row.permissions.as_deref())?;
            Some((server, standing))
        });
        let backup = match (&server, backup) {
            (Some(_), Some(backup)) => Some(Backup::try_from(backup)?),
            _ => None,
        };
        Ok(Self {
            key,
            server,
            backup,
            marks: row.marks.into(),
        })
    }
}

/// What a user is to a server; nothing when the user has no part in it.
fn standing(server: &Server, key: &KeyOfUser, permissions: Option<&[String]>) -> Option<Standing> {
    if server.owner == key.key.user {
        return Some(Standing::Owner);
    }
    if key.is_admin {
        return Some(Standing::Admin);
    }
    let names = permissions?.iter();
    let permissions = names.filter_map(|name| Permission::parse(name)).collect();
    Some(Standing::Subuser(permissions))
}

impl Row {
    fn take_server(&mut self) -> Option<servers::Row> {
        Some(servers::Row {
            id: self.server_id?,
            owner_id: self.server_owner_id?,
            name: self.server_name.take()?,
            directory: self.server_directory.take()?,
            node: self.server_node.take()?,
            disk: self.server_disk.take(),
            state: self.server_state.take()?,
            backup_limit: self.server_backup_limit,
            max_backup_bytes: self.server_max_backup_bytes,
            quota_bytes: self.server_quota_bytes,
            retention_days: self.server_retention_days,
            keep: self.server_keep.take(),
            rotate: self.server_rotate?,
            created_at: self.server_created_at?,
            placed_by: self.server_placed_by.take()?,
        })
    }

    fn take_backup(&mut self) -> Option<backups::Row> {
        Some(backups::Row {
            place: self.place,
            id: self.backup_id?,
            server_id: self.server_id?,
            name: self.backup_name.take()?,
            ignored_files: self.backup_ignored_files.take()?,
            disk: self.backup_disk.take()?,
            node: self.backup_node.take(),
            state: self.backup_state.take()?,
            is_locked: self.backup_is_locked?,
            is_scheduled: self.backup_is_scheduled?,
            size_bytes: self.backup_size_bytes?,
            sha256: self.backup_sha256.take(),
            archive_attempt: self.backup_archive_attempt,
            notes_count: self.backup_notes_count?,
            notes: self.backup_notes.take()?,
            error: self.backup_error.take(),
            created_at: self.backup_created_at?,
            completed_at: self.backup_completed_at,
            failed_at: self.backup_failed_at,
            verification: self.verification.take(),
            verification_started_at: self.verification_started_at,
            verification_finished_at: self.verification_finished_at,
            verification_sentence: self.verification_sentence.take(),
            damaged_at: self.damaged_at,
            unfinished_state: self.unfinished_state.take(),
            unfinished_progress: self.unfinished_progress.take(),
            verify_state: self.verify_state.take(),
            verify_started_at: self.verify_started_at,
            restore_state: self.restore_state.take(),
            restore_started_at: self.restore_started_at,
            restore_finalized_at: self.restore_finalized_at,
            restore_error: self.restore_error.take(),
        })
    }
}
