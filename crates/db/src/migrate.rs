//! Runs the migrations, which are compiled in.

use crate::connect::Database;
use crate::error::Error;

/// Brings the schema up to date. Processes that do so at once wait for each other.
///
/// # Errors
/// [`Error::Migrate`] with the migration that failed; that one has changed nothing.
pub async fn migrate(database: &Database) -> Result<(), Error> {
    Ok(sqlx::migrate!("../../migrations")
        .run(database.pool())
        .await?)
}
