//! How many schedules a server has, and how large their tasks are.

use holdfast_domain::ServerId;

use crate::error::Error;
use crate::pool::Transaction;

/// What the schedules of a server use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduleUsage {
    /// The number of schedules.
    pub schedules: u64,
    /// The length of the payloads of all their tasks, in bytes.
    pub payload_bytes: u64,
}

/// Returns what the schedules of a server use. The caller has locked the server.
///
/// # Errors
/// If the database can't be read.
pub async fn usage(
    transaction: &mut Transaction,
    server: ServerId,
) -> Result<ScheduleUsage, Error> {
    let row = sqlx::query!(
        r#"SELECT count(DISTINCT s.id) AS "schedules!",
                  coalesce(sum(octet_length(t.payload)), 0)::bigint AS "payload_bytes!"
           FROM schedules s LEFT JOIN schedule_tasks t ON t.schedule_id = s.id
           WHERE s.server_id = $1 AND NOT s.is_default"#,
        server.0,
    )
    .fetch_one(transaction.connection())
    .await?;
    Ok(ScheduleUsage {
        schedules: row.schedules.unsigned_abs(),
        payload_bytes: row.payload_bytes.unsigned_abs(),
    })
}
