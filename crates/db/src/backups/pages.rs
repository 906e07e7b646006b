//! Pages of the backups of servers, which clients poll. One query reads many pages.

use uuid::Uuid;

use holdfast_domain::{Backup, ServerId};

use super::{BackupRow, select_backups_of};
use crate::batch::Batcher;
use crate::error::Error;
use crate::pool::{Database, clamp_offset, retry_read};

/// Which page to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageRequest {
    /// The server.
    pub server: ServerId,
    /// The size of the page.
    pub limit: u32,
    /// The number of newer backups to skip.
    pub offset: u64,
}

/// A page of a server's backups.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BackupPage {
    /// The backups of the page, newest first.
    pub backups: Vec<Backup>,
    /// The number of backups of the server, on all pages.
    pub total: u64,
    /// How many of them count against its backup limit: those in `creating` and `completed`.
    pub backup_count: u64,
}

/// Reads pages of backups in batches.
#[derive(Debug)]
pub struct BackupPages(Batcher<PageRequest, BackupPage>);

impl BackupPages {
    /// Starts the task that reads the batches.
    pub fn start(database: &Database) -> Self {
        let database = database.clone();
        Self(Batcher::start(move |requests| {
            retry_read(database.clone(), requests, find)
        }))
    }

    /// Reads a page. A page after the last one is empty.
    ///
    /// # Errors
    /// If the database can't be read.
    pub async fn find(&self, request: PageRequest) -> Result<BackupPage, Error> {
        self.0.request(request).await
    }
}

async fn find(
    database: Database,
    requests: Vec<PageRequest>,
) -> Result<Vec<Result<BackupPage, Error>>, Error> {
    let servers: Vec<Uuid> = requests.iter().map(|page| page.server.0).collect();
    let limits: Vec<i64> = requests.iter().map(|page| i64::from(page.limit)).collect();
    let offsets: Vec<i64> = requests
        .iter()
        .map(|page| clamp_offset(page.offset))
        .collect();
    let mut connection = database.pool().acquire().await?;
    let counts = sqlx::query!(
        r#"SELECT q.position AS "position!", c.total AS "total!", c.kept AS "kept!"
           FROM unnest($1::uuid[]) WITH ORDINALITY AS q (server, position)
           CROSS JOIN LATERAL (
               SELECT count(*) AS total,
                      count(*) FILTER (WHERE b.state IN ('creating', 'completed')) AS kept
               FROM backups b WHERE b.server_id = q.server
           ) c"#,
        &servers,
    )
    .fetch_all(&mut *connection)
    .await?;
    // Few backups of a server have a job that matters. Reading the jobs once for the server costs
    // half as much as looking them up for each backup.
    let rows = select_backups_of!(
        &mut *connection,
        fetch_all,
        "q.position",
        "unnest($1::uuid[], $2::bigint[], $3::bigint[])
             WITH ORDINALITY AS q (server, page_limit, page_offset, position)
         CROSS JOIN LATERAL (
             SELECT * FROM backups WHERE server_id = q.server
             ORDER BY created_at DESC, id DESC LIMIT q.page_limit OFFSET q.page_offset
         ) b
         LEFT JOIN (
             SELECT j.backup_id,
                    (array_agg(j.state ORDER BY j.priority, j.id DESC)
                         FILTER (WHERE j.kind <> 'verify_backup' OR j.state = 'running'))[1]
                        AS state,
                    (array_agg(j.progress ORDER BY j.priority, j.id DESC)
                         FILTER (WHERE j.kind <> 'verify_backup' OR j.state = 'running'))[1]
                        AS progress,
                    max(j.state) FILTER (WHERE j.kind = 'verify_backup') AS verify_state,
                    max(j.started_at) FILTER (WHERE j.kind = 'verify_backup') AS verify_started_at
             FROM jobs j
             WHERE j.server_id = ANY ($1) AND j.state IN ('available', 'scheduled', 'running')
             GROUP BY j.backup_id
         ) u ON u.backup_id = b.id
         LEFT JOIN (
             SELECT DISTINCT ON (backup_id) backup_id, state, started_at, finalized_at, errors,
                    notes_count, notes
             FROM jobs
             WHERE server_id = ANY ($1) AND (kind = 'restore_backup') IS TRUE
             ORDER BY backup_id, id DESC
         ) r ON r.backup_id = b.id",
        "ORDER BY q.position, b.created_at DESC, b.id DESC",
        &servers,
        &limits,
        &offsets,
    )?;
    drop(connection);

    let mut pages: Vec<Result<BackupPage, Error>> =
        requests.iter().map(|_| Ok(BackupPage::default())).collect();
    for count in counts {
        if let Some(Ok(page)) = pages.get_mut(index(count.position)) {
            page.total = count.total.unsigned_abs();
            page.backup_count = count.kept.unsigned_abs();
        }
    }
    for row in rows {
        let Some(page) = pages.get_mut(index(row.position)) else {
            continue;
        };
        match (page.as_mut(), Backup::try_from(row)) {
            (Ok(page), Ok(backup)) => page.backups.push(backup),
            (Ok(_), Err(error)) => *page = Err(error),
            (Err(_), _) => {}
        }
    }
    Ok(pages)
}

/// Converts a position, from 1, to an index.
fn index(position: i64) -> usize {
    usize::try_from(position - 1).unwrap_or(usize::MAX)
}
