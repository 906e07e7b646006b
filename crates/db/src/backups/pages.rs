//! Pages of servers' backups, many with one query: what clients poll while they wait.

use uuid::Uuid;

use holdfast_domain::{Backup, ServerId};

use super::{Row, select_backups_of};
use crate::batch::Batcher;
use crate::error::Error;
use crate::pool::{Database, read_again, skip};

/// A page that somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageRequest {
    /// Whose backups.
    pub server: ServerId,
    /// How many at most.
    pub limit: u32,
    /// How many newer ones come before.
    pub offset: u64,
}

/// A page of a server's backups.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BackupPage {
    /// The backups of the page, newest first.
    pub backups: Vec<Backup>,
    /// How many the server has, those of other pages among them.
    pub total: u64,
    /// How many of them count against its limit: creating and completed ones.
    pub kept: u64,
}

/// Answers which backups servers have.
#[derive(Debug)]
pub struct BackupPages(Batcher<PageRequest, BackupPage>);

impl BackupPages {
    /// Begins to answer.
    pub fn begin(database: &Database) -> Self {
        let database = database.clone();
        Self(Batcher::begin(move |wanted| {
            read_again(database.clone(), wanted, find)
        }))
    }

    /// Finds a page. One behind the end is empty.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn find(&self, wanted: PageRequest) -> Result<BackupPage, Error> {
        self.0.ask(wanted).await
    }
}

async fn find(
    database: Database,
    wanted: Vec<PageRequest>,
) -> Result<Vec<Result<BackupPage, Error>>, Error> {
    let servers: Vec<Uuid> = wanted.iter().map(|page| page.server.0).collect();
    let limits: Vec<i64> = wanted.iter().map(|page| i64::from(page.limit)).collect();
    let offsets: Vec<i64> = wanted.iter().map(|page| skip(page.offset)).collect();
    let mut connection = database.pool().acquire().await?;
    let counts = sqlx::query!(
        r#"SELECT q.place AS "place!", c.total AS "total!", c.kept AS "kept!"
           FROM unnest($1::uuid[]) WITH ORDINALITY AS q (server, place)
           CROSS JOIN LATERAL (
               SELECT count(*) AS total, count(*) FILTER (WHERE b.state IN ('creating', 'completed')) AS kept
               FROM backups b WHERE b.server_id = q.server
           ) c"#,
        &servers,
    )
    .fetch_all(&mut *connection)
    .await?;
    // Of a server's backups hardly any has a job that matters: those few are read once for the server, which costs
    // half of what looking for them with each backup does.
    let rows = select_backups_of!(
        &mut *connection,
        fetch_all,
        "q.place",
        "unnest($1::uuid[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS q (server, count, skip, place)
         CROSS JOIN LATERAL (
             SELECT * FROM backups WHERE server_id = q.server
             ORDER BY created_at DESC, id DESC LIMIT q.count OFFSET q.skip
         ) b
         LEFT JOIN (
             SELECT j.backup_id,
                    (array_agg(j.state ORDER BY j.priority, j.id DESC)
                         FILTER (WHERE j.kind <> 'verify_backup' OR j.state = 'running'))[1] AS state,
                    (array_agg(j.progress ORDER BY j.priority, j.id DESC)
                         FILTER (WHERE j.kind <> 'verify_backup' OR j.state = 'running'))[1] AS progress,
                    max(j.state) FILTER (WHERE j.kind = 'verify_backup') AS verify_state,
                    max(j.started_at) FILTER (WHERE j.kind = 'verify_backup') AS verify_started_at
             FROM jobs j
             WHERE j.server_id = ANY ($1) AND j.state IN ('available', 'scheduled', 'running')
             GROUP BY j.backup_id
         ) u ON u.backup_id = b.id
         LEFT JOIN (
             SELECT DISTINCT ON (backup_id) backup_id, state, started_at, finalized_at, errors FROM jobs
             WHERE server_id = ANY ($1) AND (kind = 'restore_backup') IS TRUE
             ORDER BY backup_id, id DESC
         ) r ON r.backup_id = b.id",
        "ORDER BY q.place, b.created_at DESC, b.id DESC",
        &servers,
        &limits,
        &offsets,
    )?;
    drop(connection);

    let mut pages: Vec<Result<BackupPage, Error>> =
        wanted.iter().map(|_| Ok(BackupPage::default())).collect();
    for count in counts {
        if let Some(Ok(page)) = pages.get_mut(at(count.place)) {
            page.total = count.total.unsigned_abs();
            page.kept = count.kept.unsigned_abs();
        }
    }
    for row in rows {
        let Some(page) = pages.get_mut(at(row.place)) else {
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

/// Turns an ordinal, from 1, into an index.
fn at(place: i64) -> usize {
    usize::try_from(place - 1).unwrap_or(usize::MAX)
}
