//! Arbitrary SQL, for tests: they create states that are hard to reach and read what no API shows.
//! The service must never call it.

use sqlx::{AssertSqlSafe, Row, ValueRef};

use crate::error::Error;
use crate::pool::Database;

/// Runs statements in one transaction, unless they contain transaction commands. Returns the rows
/// of all of them, with every value as text.
///
/// # Errors
/// The error of the database.
pub async fn raw(database: &Database, statements: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
    let rows = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
        .fetch_all(database.pool())
        .await?;
    rows.iter()
        .map(|row| {
            (0..row.len())
                .map(|column| {
                    let value = row.try_get_raw(column)?;
                    let text = (!value.is_null()).then(|| value.as_str().map(str::to_owned));
                    text.transpose().map_err(|error| {
                        Error::from(sqlx::Error::ColumnDecode {
                            index: column.to_string(),
                            source: error,
                        })
                    })
                })
                .collect()
        })
        .collect()
}
