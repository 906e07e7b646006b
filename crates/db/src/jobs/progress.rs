//! The progress of unfinished jobs, for event streams.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use holdfast_domain::{BackupId, JobId, JobKind, JobProgress, ServerId};

use crate::error::Error;
use crate::pool::Database;

/// The progress of an unfinished job.
#[derive(Clone, Debug, PartialEq)]
pub struct UnfinishedJob {
    /// The job.
    pub id: JobId,
    /// The kind.
    pub kind: JobKind,
    /// The server that it is for.
    pub server: ServerId,
    /// The backup that it is for.
    pub backup: BackupId,
    /// The progress, or `None` while the job is queued.
    pub progress: Option<JobProgress>,
    /// When the worker reported it.
    pub at: Option<DateTime<Utc>>,
}

/// Lists the unfinished jobs of these servers with their progress. Jobs without a backup are left
/// out.
///
/// # Errors
/// If the database can't be read.
pub async fn list_unfinished(
    database: &Database,
    servers: &[ServerId],
) -> Result<Vec<UnfinishedJob>, Error> {
    let servers: Vec<Uuid> = servers.iter().map(|server| server.0).collect();
    let rows = sqlx::query!(
        r#"SELECT j.id AS "id!", j.kind AS "kind!", j.server_id AS "server_id!",
                  j.backup_id AS "backup_id!", j.progress AS "progress?",
                  j.heartbeat_at AS "heartbeat_at?"
           FROM unnest($1::uuid[]) AS q (server)
           CROSS JOIN LATERAL (
               SELECT * FROM jobs
               WHERE server_id = q.server AND state IN ('available', 'scheduled', 'running')
               ORDER BY backup_id LIMIT 100
           ) j
           WHERE j.backup_id <> '00000000-0000-0000-0000-000000000000'
           ORDER BY j.id"#,
        &servers,
    )
    .fetch_all(database.pool())
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(UnfinishedJob {
                id: JobId(row.id),
                kind: JobKind::parse(&row.kind)
                    .ok_or_else(|| Error::unreadable("job kind", &row.kind))?,
                server: ServerId(row.server_id),
                backup: BackupId(row.backup_id),
                // A newer version may write a phase that this one does not know.
                progress: row
                    .progress
                    .and_then(|value| serde_json::from_value(value).ok()),
                at: row.heartbeat_at,
            })
        })
        .collect()
}
