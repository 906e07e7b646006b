//! The lookup of a request of the client API in one query: the API key, its user, the server with
//! the user's access to it, and the backup.

mod row;

use uuid::Uuid;

use holdfast_domain::key::KeyIdentifier;
use holdfast_domain::{Backup, BackupId, Server, ServerAccess, ServerRef};

use crate::batch::Batcher;
use crate::error::Error;
use crate::keys::KeyOfUser;
use crate::list_versions::ListVersions;
use crate::pool::{Database, retry_read};

use row::RequestRow;

/// What to look up for a request: the key, and the objects in its path.
#[derive(Clone, Debug)]
pub struct LookupRequest {
    /// The public part of the API key.
    pub key: KeyIdentifier,
    /// The server, if the request names one.
    pub server: Option<ServerRef>,
    /// The backup, if the request names one.
    pub backup: Option<BackupId>,
}

/// What the lookup of a request has found.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// The key with its user. `ApiKey::check` decides whether it may be used.
    pub key: KeyOfUser,
    /// The server and the access of the user to it, if there is any.
    pub server: Option<(Server, ServerAccess)>,
    /// The backup, if it belongs to the server.
    pub backup: Option<Backup>,
    /// The versions of the lists of the server, if the request names a server and no backup.
    pub list_versions: ListVersions,
}

/// Looks up requests in batches. Requests that name a backup are batched separately, because the
/// others need only a simpler query.
#[derive(Debug)]
pub struct RequestLookup {
    servers: Batcher<LookupRequest, Option<RequestContext>>,
    backups: Batcher<LookupRequest, Option<RequestContext>>,
}

impl RequestLookup {
    /// Starts the tasks that run the batches.
    pub fn start(database: &Database) -> Self {
        let (for_servers, for_backups) = (database.clone(), database.clone());
        Self {
            servers: Batcher::start(move |requests| {
                retry_read(for_servers.clone(), requests, find_servers)
            }),
            backups: Batcher::start(move |requests| {
                retry_read(for_backups.clone(), requests, find_backups)
            }),
        }
    }

    /// Looks up a request. Returns `None` if the key does not exist.
    ///
    /// # Errors
    /// If the database can't be read.
    pub async fn find(&self, request: LookupRequest) -> Result<Option<RequestContext>, Error> {
        let batcher = match request.backup {
            Some(_) => &self.backups,
            None => &self.servers,
        };
        batcher.request(request).await
    }
}

/// Selects the contexts of the requests in `$from`: keys `k` with their users, and servers `s` that
/// the users can access, with their permissions. `$rest` adds backups `b`, their unfinished jobs
/// `u` and their latest restores `r`.
macro_rules! select_contexts {
    ($database:expr, $versions:tt, $from:tt, $rest:tt $(, $argument:expr)* $(,)?) => {
        // OFFSET 0 makes each request use the indexes. Without it, the planner would read whole
        // tables for fifty requests. A server that the user cannot access is not found, so its
        // backups and jobs are not read.
        sqlx::query_as!(
            RequestRow,
            "SELECT q.position AS \"position!\", k.identifier AS \"identifier!\",
                k.user_id AS \"user_id!\", k.kind AS \"kind!\", k.profile AS \"profile!\",
                k.secret_hash AS \"secret_hash!\", k.description AS \"description!\",
                k.allowed_ips AS \"allowed_ips!\", k.expires_at AS \"expires_at?\",
                k.created_at AS \"created_at!\", k.is_admin AS \"is_admin!\",
                k.email AS \"email!\",
                s.id AS \"server_id?\", s.owner_id AS \"server_owner_id?\",
                s.name AS \"server_name?\", s.directory AS \"server_directory?\",
                s.node AS \"server_node?\", s.disk AS \"server_disk?\",
                s.state AS \"server_state?\", s.backup_limit AS \"server_backup_limit?\",
                s.max_backup_bytes AS \"server_max_backup_bytes?\",
                s.quota_bytes AS \"server_quota_bytes?\",
                s.retention_days AS \"server_retention_days?\", s.keep AS \"server_keep?\",
                s.rotate AS \"server_rotate?\",
                s.no_default_schedule AS \"server_no_default_schedule?\",
                s.created_at AS \"server_created_at?\",
                s.directory_set_by AS \"server_directory_set_by?\",
                s.managed_by AS \"server_managed_by?\",
                s.absent_since AS \"server_absent_since?\",
                s.permissions AS \"permissions?\",
                b.id AS \"backup_id?\", b.name AS \"backup_name?\",
                b.ignored_files AS \"backup_ignored_files?\", b.disk AS \"backup_disk?\",
                b.node AS \"backup_node?\", b.state AS \"backup_state?\",
                b.is_locked AS \"backup_is_locked?\",
                b.is_scheduled AS \"backup_is_scheduled?\",
                b.is_full AS \"backup_is_full?\",
                b.schedule_id AS \"backup_schedule_id?\",
                (SELECT name FROM schedules WHERE id = b.schedule_id) AS \"backup_schedule_name?\",
                b.size_bytes AS \"backup_size_bytes?\", b.sha256 AS \"backup_sha256?\",
                b.archive_attempt AS \"backup_archive_attempt?\",
                b.notes_count AS \"backup_notes_count?\", b.notes AS \"backup_notes?\",
                b.error AS \"backup_error?\", b.reused_from AS \"reused_from?\",
                b.reused_bytes AS \"reused_bytes?\", b.read_bytes AS \"read_bytes?\",
                b.stored_bytes AS \"stored_bytes?\", b.unread_backups AS \"unread_backups?\",
                b.created_at AS \"backup_created_at?\", b.completed_at AS \"backup_completed_at?\",
                b.failed_at AS \"backup_failed_at?\",
                b.verification AS \"verification?\",
                b.verification_started_at AS \"verification_started_at?\",
                b.verification_finished_at AS \"verification_finished_at?\",
                b.verification_sentence AS \"verification_sentence?\",
                b.damaged_at AS \"damaged_at?\",
                u.state AS \"unfinished_state?\", u.progress AS \"unfinished_progress?\",
                u.verify_state AS \"verify_state?\", u.verify_started_at AS \"verify_started_at?\",
                r.state AS \"restore_state?\", r.started_at AS \"restore_started_at?\",
                r.finalized_at AS \"restore_finalized_at?\",
                r.errors -> -1 ->> 'sentence' AS \"restore_error?\",
                r.notes_count AS \"restore_notes_count?\", r.notes AS \"restore_notes?\",
                " + $versions + " AS \"list_versions!\"
             FROM " + $from + "
             CROSS JOIN LATERAL (
                 SELECT keys.*, a.is_admin, a.email
                 FROM api_keys keys JOIN users a ON a.id = keys.user_id
                 WHERE keys.identifier = q.key OFFSET 0
             ) k
             LEFT JOIN LATERAL (
                 SELECT f.*, p.permissions FROM servers f
                 LEFT JOIN LATERAL (
                     SELECT permissions FROM subusers
                     WHERE server_id = f.id AND user_id = k.user_id AND NOT k.is_admin
                         AND f.owner_id <> k.user_id LIMIT 1
                 ) p ON true
                 WHERE f.identifier = q.short AND (q.server IS NULL OR f.id = q.server)
                     AND f.deleting_at IS NULL
                     AND (f.owner_id = k.user_id OR k.is_admin OR p.permissions IS NOT NULL)
                 OFFSET 0
             ) s ON true
             " + $rest,
            $($argument),*
        )
        .fetch_all($database.pool())
        .await
    };
}

/// The keys and servers of a batch of requests, as columns.
struct Columns {
    keys: Vec<String>,
    shorts: Vec<String>,
    servers: Vec<Option<Uuid>>,
}

impl Columns {
    fn of(requests: &[LookupRequest]) -> Self {
        let keys: Vec<String> = requests.iter().map(|r| r.key.to_string()).collect();
        // A UUID contains the short identifier, which has the unique index.
        let shorts: Vec<String> = requests
            .iter()
            .map(|request| match &request.server {
                Some(ServerRef::Id(id)) => id.short(),
                Some(ServerRef::Short(short)) => short.clone(),
                None => String::new(),
            })
            .collect();
        let servers: Vec<Option<Uuid>> = requests
            .iter()
            .map(|request| match &request.server {
                Some(ServerRef::Id(id)) => Some(id.0),
                _ => None,
            })
            .collect();
        Self {
            keys,
            shorts,
            servers,
        }
    }
}

async fn find_servers(
    database: Database,
    requests: Vec<LookupRequest>,
) -> Result<Vec<Result<Option<RequestContext>, Error>>, Error> {
    let Columns {
        keys,
        shorts,
        servers,
    } = Columns::of(&requests);
    let rows = select_contexts!(
        database,
        "ARRAY(SELECT v.version FROM list_versions v WHERE v.server_id = s.id)",
        "unnest($1::text[], $2::text[], $3::uuid[])
         WITH ORDINALITY AS q (key, short, server, position)",
        "LEFT JOIN backups b ON false
         LEFT JOIN (
             SELECT NULL::text AS state, NULL::jsonb AS progress, NULL::text AS verify_state,
                    NULL::timestamptz AS verify_started_at
         ) u ON false
         LEFT JOIN jobs r ON false",
        &keys,
        &shorts,
        &servers as &[Option<Uuid>],
    )?;
    Ok(contexts(rows, requests.len()))
}

async fn find_backups(
    database: Database,
    requests: Vec<LookupRequest>,
) -> Result<Vec<Result<Option<RequestContext>, Error>>, Error> {
    let Columns {
        keys,
        shorts,
        servers,
    } = Columns::of(&requests);
    let backups: Vec<Option<Uuid>> = requests.iter().map(|r| r.backup.map(|id| id.0)).collect();
    // The condition on restores has the form of the index `jobs_restores`.
    let rows = select_contexts!(
        database,
        "ARRAY[]::uuid[]",
        "unnest($1::text[], $2::text[], $3::uuid[], $4::uuid[])
         WITH ORDINALITY AS q (key, short, server, backup, position)",
        "LEFT JOIN LATERAL (
             SELECT * FROM backups
             WHERE id = q.backup AND server_id = s.id AND s.id IS NOT NULL OFFSET 0
         ) b ON true
         LEFT JOIN LATERAL (
             SELECT (array_agg(j.state ORDER BY j.priority, j.id DESC)
                         FILTER (WHERE j.kind <> 'verify_backup' OR j.state = 'running'))[1]
                        AS state,
                    (array_agg(j.progress ORDER BY j.priority, j.id DESC)
                         FILTER (WHERE j.kind <> 'verify_backup' OR j.state = 'running'))[1]
                        AS progress,
                    max(j.state) FILTER (WHERE j.kind = 'verify_backup') AS verify_state,
                    max(j.started_at) FILTER (WHERE j.kind = 'verify_backup') AS verify_started_at
             FROM jobs j
             WHERE j.server_id = s.id AND j.backup_id = b.id
                 AND j.state IN ('available', 'scheduled', 'running')
         ) u ON true
         LEFT JOIN LATERAL (
             SELECT j.state, j.started_at, j.finalized_at, j.errors, j.notes_count, j.notes
             FROM jobs j
             WHERE j.server_id = s.id AND j.backup_id = b.id
                 AND (j.kind = 'restore_backup') IS TRUE
             ORDER BY j.id DESC LIMIT 1
         ) r ON true",
        &keys,
        &shorts,
        &servers as &[Option<Uuid>],
        &backups as &[Option<Uuid>],
    )?;
    Ok(contexts(rows, requests.len()))
}

/// Returns the contexts in the order of their requests.
fn contexts(rows: Vec<RequestRow>, requests: usize) -> Vec<Result<Option<RequestContext>, Error>> {
    let mut contexts: Vec<_> = (0..requests).map(|_| Ok(None)).collect();
    for row in rows {
        let index = usize::try_from(row.position - 1).unwrap_or(usize::MAX);
        if let Some(context) = contexts.get_mut(index) {
            *context = RequestContext::try_from(row).map(Some);
        }
    }
    contexts
}
