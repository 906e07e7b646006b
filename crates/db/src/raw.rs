//! Statements as somebody has written them, past everything that this crate knows: for tests, which make what takes
//! long to get into and look at what nobody shows. No code of the service calls it.

use sqlx::{AssertSqlSafe, Row, ValueRef};

use crate::error::Error;
use crate::pool::Database;

/// Runs one or more statements, all or nothing unless they say otherwise, and returns the rows of all of them, every
/// value as text.
///
/// # Errors
/// What the database says.
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
