//! What decides whether servers can get another backup, for many servers at once.

use uuid::Uuid;

use holdfast_domain::estimate::LatestArchive;
use holdfast_domain::limit::ServerLoad;
use holdfast_domain::{JobKind, Server, ServerId, ServerState};

use crate::backups::LatestRow;
use crate::error::Error;
use crate::pool::Transaction;

/// A locked server, and what decides about its next backup.
#[derive(Clone, Debug)]
pub struct ServerFacts {
    /// The server.
    pub server: Server,
    /// Its load, without what rotation and the throttle need: those are 0.
    pub load: ServerLoad,
    /// Its latest archive.
    pub latest: Option<LatestArchive>,
    /// Whether a run of one of its schedules is running.
    pub has_run: bool,
}

/// Reads the facts about servers that this transaction has locked. Servers that are being deleted
/// are left out.
///
/// # Errors
/// If the database can't be read.
pub async fn facts(
    transaction: &mut Transaction,
    servers: &[ServerId],
) -> Result<Vec<ServerFacts>, Error> {
    let ids: Vec<Uuid> = servers.iter().map(|server| server.0).collect();
    let mut found = super::find_all_in(transaction, &ids).await?;
    let rows = sqlx::query!(
        r#"SELECT s.id, s.state,
                  (SELECT kind FROM jobs
                   WHERE server_id = s.id AND kind IN ('create_backup', 'restore_backup')
                       AND state IN ('available', 'scheduled', 'running')) AS unfinished,
                  (SELECT count(*) FROM backups
                   WHERE server_id = s.id AND state IN ('creating', 'completed')) AS "kept!",
                  (SELECT coalesce(sum(size_bytes), 0)::bigint FROM backups
                   WHERE server_id = s.id AND state = 'completed') AS "archived_bytes!",
                  latest.size_bytes AS "size_bytes?", latest.disk AS "disk?",
                  latest.node AS "node?", latest.stored_bytes AS "stored_bytes?",
                  latest.unread_backups AS "unread_backups?",
                  latest.damaged_at IS NOT NULL OR latest.missing_since IS NOT NULL
                      OR coalesce(
                          greatest(r.restored_at, r.damage_found_at) >= latest.created_at, false
                      ) AS "is_doubtful!",
                  EXISTS (
                      SELECT 1 FROM schedule_runs r
                      WHERE r.server_id = s.id AND r.state = 'running'
                  ) AS "has_run!"
           FROM servers s
           LEFT JOIN reuse_barriers r ON r.server_id = s.id
           LEFT JOIN LATERAL (
               SELECT * FROM backups
               WHERE server_id = s.id AND state = 'completed'
               ORDER BY created_at DESC, id DESC LIMIT 1
           ) latest ON true
           WHERE s.id = ANY ($1) AND s.deleting_at IS NULL"#,
        &ids,
    )
    .fetch_all(transaction.connection())
    .await?;
    rows.into_iter()
        .filter_map(|row| {
            let server = found.iter().position(|server| server.id.0 == row.id)?;
            Some((found.swap_remove(server), row))
        })
        .map(|(server, row)| {
            let load = ServerLoad {
                state: ServerState::parse(&row.state)
                    .ok_or_else(|| Error::unreadable("server state", &row.state))?,
                unfinished: row
                    .unfinished
                    .map(|kind| {
                        JobKind::parse(&kind).ok_or_else(|| Error::unreadable("job kind", &kind))
                    })
                    .transpose()?,
                backups: row.kept.unsigned_abs(),
                rotatable: 0,
                archived_bytes: row.archived_bytes.unsigned_abs(),
                recent_backups: 0,
            };
            let latest = row.size_bytes.zip(row.disk).map(|(size_bytes, disk)| {
                LatestArchive::try_from(LatestRow {
                    size_bytes,
                    disk,
                    node: row.node,
                    stored_bytes: row.stored_bytes,
                    unread_backups: row.unread_backups,
                    is_doubtful: row.is_doubtful,
                })
            });
            Ok(ServerFacts {
                server,
                load,
                latest: latest.transpose()?,
                has_run: row.has_run,
            })
        })
        .collect()
}
