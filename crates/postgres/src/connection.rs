//! Connections to a private cluster, for readiness checks and plain statements.

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _, ValueRef as _};

use crate::address::Address;
use crate::error::Error;

/// The result of statements: rows of values as text, `None` for NULL.
pub(crate) type TextRows = Vec<Vec<Option<String>>>;

/// Connects to a database of the cluster.
///
/// # Errors
/// When the connection fails, or the server refuses it.
pub(crate) async fn connect(
    address: &Address,
    database: &str,
) -> Result<PgConnection, sqlx::Error> {
    let options: PgConnectOptions = address.url(database).parse()?;
    let options = options.application_name("holdfast");
    options.disable_statement_logging().connect().await
}

/// Runs one or more statements in one transaction, unless they contain their own.
///
/// # Errors
/// [`Error::Refused`] with the server's message, or [`Error::Connection`].
pub(crate) async fn query(
    connection: &mut PgConnection,
    statements: &str,
) -> Result<TextRows, Error> {
    let rows = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| (0..row.len()).map(|column| text(row, column)).collect())
        .collect()
}

/// Returns a value as the server sent it: plain statements return every value as text.
fn text(row: &sqlx::postgres::PgRow, column: usize) -> Result<Option<String>, Error> {
    let value = row.try_get_raw(column)?;
    if value.is_null() {
        return Ok(None);
    }
    let text = value.as_str().map_err(sqlx::Error::Decode)?;
    Ok(Some(text.to_owned()))
}
