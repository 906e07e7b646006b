//! The number of requests by key or address in a minute, over all API processes.

use crate::error::Error;
use crate::pool::Database;

/// Adds the counts of this process for a minute, and returns the sums over all processes: subject
/// and count, in any order. Deletes the counts of earlier minutes.
///
/// # Errors
/// If the database can't be written.
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
    // All processes use the same order, so they cannot deadlock.
    let rows = sqlx::query!(
        "INSERT INTO rate_counts (minute, subject, count)
         SELECT $1, subject, count FROM unnest($2::text[], $3::bigint[]) AS added (subject, count)
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
