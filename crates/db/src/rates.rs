//! How many requests each key or address has made in a minute, over all API processes.

use crate::error::Error;
use crate::pool::Database;

/// Adds one process's counts of a minute, and returns the sums over all of them: subject and count,
/// in any order. Counts of minutes that are over are dropped.
///
/// # Errors
/// When the database can't be written.
pub async fn add(
    database: &Database,
    minute: i64,
    subjects: &[String],
    counts: &[i64],
) -> Result<Vec<(String, u64)>, Error> {
    let mut transaction = database.begin().await?;
    sqlx::query!("DELETE FROM rate_counts WHERE minute < $1", minute - 1)
        .execute(transaction.connection())
        .await?;
    // In one order everywhere, so that two processes never wait for each other in a circle.
    let rows = sqlx::query!(
        "INSERT INTO rate_counts (minute, subject, count)
         SELECT $1, subject, count FROM unnest($2::text[], $3::bigint[]) AS told (subject, count)
         ORDER BY subject
         ON CONFLICT (minute, subject) DO UPDATE SET count = rate_counts.count + EXCLUDED.count
         RETURNING subject, count",
        minute,
        subjects,
        counts,
    )
    .fetch_all(transaction.connection())
    .await?;
    transaction.commit().await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.subject, row.count.unsigned_abs()))
        .collect())
}
