//! Jobs for operators: lists them, finds them, and cancels queued ones.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use holdfast_domain::activity::ActivityEvent;
use holdfast_domain::{BackupId, JobId, JobKind, JobState, ServerId};

use crate::error::Error;
use crate::listen::JOB_ENDED;
use crate::operator_log::Change;
use crate::pool::{COUNT_MAX, Database, Transaction, clamp_offset};

/// A job as operators see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// The job.
    pub id: JobId,
    /// The kind.
    pub kind: JobKind,
    /// The server that it is for.
    pub server: ServerId,
    /// The backup that it is for.
    pub backup: BackupId,
    /// The node that it runs on.
    pub node: String,
    /// The state.
    pub state: JobState,
    /// The arguments: JSON in a shape that the kind defines.
    pub args: Value,
    /// The number of attempts so far.
    pub attempt: u32,
    /// The greatest number of attempts.
    pub max_attempts: u32,
    /// The worker that runs it.
    pub claimed_by: Option<String>,
    /// The progress: JSON of `holdfast_domain::JobProgress`.
    pub progress: Option<Value>,
    /// The errors of its failed attempts: a JSON array.
    pub errors: Value,
    /// The ID of the request that created it.
    pub request_id: Option<String>,
    /// When it was enqueued.
    pub created_at: DateTime<Utc>,
    /// When it was first claimed.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finalized_at: Option<DateTime<Utc>>,
}

struct JobRow {
    id: i64,
    kind: String,
    server_id: Uuid,
    backup_id: Uuid,
    node: String,
    args: Value,
    state: String,
    attempt: i32,
    max_attempts: i32,
    claimed_by: Option<String>,
    progress: Option<Value>,
    errors: Value,
    request_id: Option<String>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finalized_at: Option<DateTime<Utc>>,
}

impl TryFrom<JobRow> for Job {
    type Error = Error;

    fn try_from(row: JobRow) -> Result<Self, Error> {
        Ok(Self {
            id: JobId(row.id),
            kind: JobKind::parse(&row.kind)
                .ok_or_else(|| Error::unreadable("job kind", &row.kind))?,
            server: ServerId(row.server_id),
            backup: BackupId(row.backup_id),
            node: row.node,
            args: row.args,
            state: JobState::parse(&row.state)
                .ok_or_else(|| Error::unreadable("job state", &row.state))?,
            attempt: row.attempt.unsigned_abs(),
            max_attempts: row.max_attempts.unsigned_abs(),
            claimed_by: row.claimed_by,
            progress: row.progress,
            errors: row.errors,
            request_id: row.request_id,
            created_at: row.created_at,
            started_at: row.started_at,
            finalized_at: row.finalized_at,
        })
    }
}

macro_rules! select_jobs {
    ($executor:expr, $fetch:ident, $tail:tt $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            JobRow,
            "SELECT j.id, j.kind, j.server_id, j.backup_id, j.node, j.args, j.state, j.attempt,
                    j.max_attempts, j.claimed_by, j.progress, j.errors, j.request_id, j.created_at,
                    j.started_at, j.finalized_at "
                + $tail,
            $($argument),*
        )
        .$fetch($executor)
        .await
    };
}

/// Which jobs to list. `None` selects all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Jobs of this server.
    pub server: Option<ServerId>,
    /// Jobs of this kind.
    pub kind: Option<JobKind>,
    /// Jobs in this state.
    pub state: Option<JobState>,
}

impl JobFilter {
    fn kinds(self) -> Vec<String> {
        let kinds = JobKind::ALL.into_iter();
        let selected = kinds.filter(|kind| self.kind.is_none_or(|only| only == *kind));
        selected.map(|kind| kind.as_str().to_owned()).collect()
    }

    fn states(self) -> Vec<String> {
        let states = JobState::ALL.into_iter();
        let selected = states.filter(|state| self.state.is_none_or(|only| only == *state));
        selected.map(|state| state.as_str().to_owned()).collect()
    }
}

/// Lists a page of jobs, newest first.
///
/// # Errors
/// If the database can't be read.
pub async fn page(
    database: &Database,
    filter: JobFilter,
    limit: u32,
    offset: u64,
) -> Result<Vec<Job>, Error> {
    let (kinds, states) = (filter.kinds(), filter.states());
    let (limit, offset) = (i64::from(limit), clamp_offset(offset));
    let pool = database.pool();
    let rows = match filter.server {
        Some(server) => select_jobs!(
            pool,
            fetch_all,
            "FROM jobs j WHERE j.server_id = $1 AND j.kind = ANY ($2) AND j.state = ANY ($3)
             ORDER BY j.id DESC LIMIT $4 OFFSET $5",
            server.0,
            &kinds,
            &states,
            limit,
            offset
        ),
        // Reads a few entries of one index for each kind and state, however many jobs there are.
        None => select_jobs!(
            pool,
            fetch_all,
            "FROM unnest($1::text[]) k (kind), unnest($2::text[]) s (state), LATERAL (
                 SELECT * FROM jobs WHERE kind = k.kind AND state = s.state
                 ORDER BY id DESC LIMIT $3::bigint + $4::bigint
             ) j
             ORDER BY j.id DESC LIMIT $3 OFFSET $4",
            &kinds,
            &states,
            limit,
            offset
        ),
    }?;
    rows.into_iter().map(Job::try_from).collect()
}

/// Counts jobs, up to 100,000.
///
/// # Errors
/// If the database can't be read.
pub async fn count(database: &Database, filter: JobFilter) -> Result<u64, Error> {
    let (kinds, states) = (filter.kinds(), filter.states());
    let count = match filter.server {
        Some(server) => {
            sqlx::query_scalar!(
                r#"SELECT count(*) AS "count!" FROM (
                       SELECT 1 FROM jobs
                       WHERE server_id = $1 AND kind = ANY ($2) AND state = ANY ($3) LIMIT $4
                   ) rows"#,
                server.0,
                &kinds,
                &states,
                COUNT_MAX,
            )
            .fetch_one(database.pool())
            .await?
        }
        None => {
            sqlx::query_scalar!(
                r#"SELECT count(*) AS "count!" FROM (
                       SELECT 1 FROM jobs WHERE kind = ANY ($1) AND state = ANY ($2) LIMIT $3
                   ) rows"#,
                &kinds,
                &states,
                COUNT_MAX,
            )
            .fetch_one(database.pool())
            .await?
        }
    };
    Ok(count.unsigned_abs())
}

/// Finds a job.
///
/// # Errors
/// If the database can't be read.
pub async fn find(database: &Database, job: JobId) -> Result<Option<Job>, Error> {
    select_jobs!(
        database.pool(),
        fetch_optional,
        "FROM jobs j WHERE j.id = $1",
        job.0
    )?
    .map(Job::try_from)
    .transpose()
}

/// Finds a job inside a transaction.
///
/// # Errors
/// If the database can't be read. [`Error::Missing`] if there is no such job.
pub async fn find_in(transaction: &mut Transaction, job: JobId) -> Result<Job, Error> {
    let found = select_jobs!(
        transaction.connection(),
        fetch_optional,
        "FROM jobs j WHERE j.id = $1",
        job.0
    )?;
    let missing = || Error::Missing {
        constraint: "jobs_pkey".into(),
    };
    found.ok_or_else(missing)?.try_into()
}

/// Cancels a queued job for an operator. If the job was to create a backup, the backup fails with
/// `sentence`. If it was to delete a server, the server is no longer marked as being deleted.
/// Returns `false` if the job was not queued.
///
/// # Errors
/// If the database can't be written.
pub async fn cancel_for_operator(
    change: &mut Change,
    job: JobId,
    sentence: &str,
) -> Result<bool, Error> {
    let done = sqlx::query!(
        "WITH cancelled AS (
            UPDATE jobs SET state = 'cancelled', finalized_at = now(),
                   errors = errors || jsonb_build_array(jsonb_build_object(
                       'attempt', attempt, 'at', now(), 'sentence', $2::text,
                       'detail', 'called off before it was claimed'))
            WHERE id = $1 AND state IN ('available', 'scheduled')
            RETURNING id, kind, server_id, backup_id
        ), failed AS (
            UPDATE backups b SET state = 'failed', failed_at = now(), is_locked = false, error = $2
            FROM cancelled c
            WHERE b.id = c.backup_id AND b.state = 'creating' AND c.kind = 'create_backup'
        ), undeleted AS (
            UPDATE servers s SET deleting_at = NULL
            FROM cancelled c WHERE s.id = c.server_id AND c.kind = 'delete_server'
        ), logged AS (
            INSERT INTO activity (event, server_id, backup_id, backup_name, properties)
            SELECT CASE kind WHEN 'create_backup' THEN $4 ELSE $5 END, server_id, backup_id,
                   (SELECT name FROM backups WHERE id = backup_id),
                   jsonb_build_object('error', $2::text)
            FROM cancelled WHERE kind IN ('create_backup', 'restore_backup')
        )
        SELECT pg_notify($3, id::text) FROM cancelled",
        job.0,
        sentence,
        JOB_ENDED,
        ActivityEvent::Fail.as_str(),
        ActivityEvent::RestoreFailed.as_str(),
    )
    .fetch_all(change.connection())
    .await?;
    Ok(done.len() == 1)
}

/// Lists the newest jobs. Filters by server and state if they are given.
///
/// # Errors
/// If the database can't be read.
pub async fn list(
    database: &Database,
    server: Option<ServerId>,
    state: Option<JobState>,
    limit: u32,
) -> Result<Vec<Job>, Error> {
    let filter = JobFilter {
        server,
        state,
        kind: None,
    };
    page(database, filter, limit, 0).await
}
