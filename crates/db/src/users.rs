//! Users.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use holdfast_domain::UserId;

use crate::connect::Database;
use crate::error::Error;

/// A user as the database holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user's UUID.
    pub id: UserId,
    /// The user's address, as it was first spelt.
    pub email: String,
    /// Whether the user administers the service.
    pub is_admin: bool,
    /// When the user was made.
    pub created_at: DateTime<Utc>,
}

/// Makes a user.
///
/// # Errors
/// [`Error::Conflict`] when somebody has that address, in any spelling.
pub async fn create(
    database: &Database,
    id: UserId,
    email: &str,
    is_admin: bool,
) -> Result<(), Error> {
    sqlx::query!(
        "INSERT INTO users (id, email, is_admin) VALUES ($1, $2, $3)",
        id.0,
        email,
        is_admin
    )
    .execute(database.pool())
    .await?;
    Ok(())
}

/// Finds a user by address, in any spelling.
///
/// # Errors
/// When the database can't be read.
pub async fn find_by_email(database: &Database, email: &str) -> Result<Option<User>, Error> {
    let row = sqlx::query!(
        "SELECT id, email, is_admin, created_at FROM users WHERE lower(email) = lower($1)",
        email
    )
    .fetch_optional(database.pool())
    .await?;
    Ok(row.map(|row| user(row.id, row.email, row.is_admin, row.created_at)))
}

/// Lists all users, by address.
///
/// # Errors
/// When the database can't be read.
pub async fn list(database: &Database) -> Result<Vec<User>, Error> {
    let rows =
        sqlx::query!("SELECT id, email, is_admin, created_at FROM users ORDER BY lower(email)")
            .fetch_all(database.pool())
            .await?;
    Ok(rows
        .into_iter()
        .map(|row| user(row.id, row.email, row.is_admin, row.created_at))
        .collect())
}

fn user(id: Uuid, email: String, is_admin: bool, created_at: DateTime<Utc>) -> User {
    User {
        id: UserId(id),
        email,
        is_admin,
        created_at,
    }
}
