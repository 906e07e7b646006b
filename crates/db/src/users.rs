//! Users. The row with the nil UUID, to which servers without an owner refer, is never found.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use holdfast_domain::{EmailAddress, UserId, UserRef};

use crate::error::Error;
use crate::operator_log::Change;
use crate::pool::{COUNT_MAX, Database, clamp_offset};

/// A user as the database holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The UUID.
    pub id: UserId,
    /// The email address, as it was entered.
    pub email: String,
    /// Whether the user is an administrator.
    pub is_admin: bool,
    /// When the user was created.
    pub created_at: DateTime<Utc>,
}

/// Inserts a user.
///
/// # Errors
/// [`Error::Conflict`] if another user has that email address. Case is ignored.
pub async fn create(
    change: &mut Change,
    id: UserId,
    email: &str,
    is_admin: bool,
) -> Result<User, Error> {
    let row = sqlx::query!(
        "INSERT INTO users (id, email, is_admin) VALUES ($1, $2, $3)
         RETURNING id, email, is_admin, created_at",
        id.0,
        email,
        is_admin
    )
    .fetch_one(change.connection())
    .await?;
    Ok(user(row.id, row.email, row.is_admin, row.created_at))
}

/// Finds a user by email address. Case is ignored.
///
/// # Errors
/// If the database can't be read.
pub async fn find_by_email(database: &Database, email: &str) -> Result<Option<User>, Error> {
    let row = sqlx::query!(
        "SELECT id, email, is_admin, created_at FROM users
         WHERE lower(email) = lower($1) AND id <> $2",
        email,
        UserId::NONE.0,
    )
    .fetch_optional(database.pool())
    .await?;
    Ok(row.map(|row| user(row.id, row.email, row.is_admin, row.created_at)))
}

/// Finds a user by UUID or email address.
///
/// # Errors
/// If the database can't be read.
pub async fn find(database: &Database, who: &UserRef) -> Result<Option<User>, Error> {
    let id = match who {
        UserRef::Id(id) => id,
        UserRef::Email(email) => return find_by_email(database, email.as_str()).await,
    };
    let row = sqlx::query!(
        "SELECT id, email, is_admin, created_at FROM users WHERE id = $1 AND id <> $2",
        id.0,
        UserId::NONE.0,
    )
    .fetch_optional(database.pool())
    .await?;
    Ok(row.map(|row| user(row.id, row.email, row.is_admin, row.created_at)))
}

/// Updates the fields that are given and returns the user. Returns `None` if there is no such user.
///
/// # Errors
/// [`Error::Conflict`] if another user has that email address. Case is ignored.
pub async fn update(
    change: &mut Change,
    id: UserId,
    email: Option<&EmailAddress>,
    is_admin: Option<bool>,
) -> Result<Option<User>, Error> {
    let row = sqlx::query!(
        "UPDATE users SET email = coalesce($2, email), is_admin = coalesce($3, is_admin)
         WHERE id = $1 AND id <> $4
         RETURNING id, email, is_admin, created_at",
        id.0,
        email.map(EmailAddress::as_str),
        is_admin,
        UserId::NONE.0,
    )
    .fetch_optional(change.connection())
    .await?;
    Ok(row.map(|row| user(row.id, row.email, row.is_admin, row.created_at)))
}

/// Locks all administrators until the transaction ends, and returns them. No two transactions hold
/// this lock, so administrators cannot demote each other or revoke each other's keys at once.
///
/// # Errors
/// If the database can't be read.
pub async fn lock_admins(change: &mut Change) -> Result<Vec<UserId>, Error> {
    let admins =
        sqlx::query_scalar!("SELECT id FROM users WHERE is_admin ORDER BY id FOR NO KEY UPDATE")
            .fetch_all(change.connection())
            .await?;
    Ok(admins.into_iter().map(UserId).collect())
}

/// Returns whether there is an administrator besides `id`. Locks all administrators.
///
/// # Errors
/// If the database can't be read.
pub async fn has_other_admin(change: &mut Change, id: UserId) -> Result<bool, Error> {
    let admins = lock_admins(change).await?;
    Ok(admins.iter().any(|admin| *admin != id))
}

/// Deletes a user with all keys and permissions. Returns whether the user existed.
///
/// # Errors
/// [`Error::Missing`] if the user owns servers.
pub async fn delete(change: &mut Change, id: UserId) -> Result<bool, Error> {
    let done = sqlx::query!(
        "DELETE FROM users WHERE id = $1 AND id <> $2",
        id.0,
        UserId::NONE.0,
    )
    .execute(change.connection())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Lists a page of users, oldest first.
///
/// # Errors
/// If the database can't be read.
pub async fn page(database: &Database, limit: u32, offset: u64) -> Result<Vec<User>, Error> {
    let rows = sqlx::query!(
        "SELECT id, email, is_admin, created_at FROM users
         WHERE id <> $3 ORDER BY created_at, id LIMIT $1 OFFSET $2",
        i64::from(limit),
        clamp_offset(offset),
        UserId::NONE.0,
    )
    .fetch_all(database.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| user(row.id, row.email, row.is_admin, row.created_at))
        .collect())
}

/// Counts users, up to 100,000.
///
/// # Errors
/// If the database can't be read.
pub async fn count(database: &Database) -> Result<u64, Error> {
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM (
               SELECT 1 FROM users WHERE id <> $2 LIMIT $1
           ) rows"#,
        COUNT_MAX,
        UserId::NONE.0,
    )
    .fetch_one(database.pool())
    .await?;
    Ok(count.unsigned_abs())
}

/// Lists all users, by email address.
///
/// # Errors
/// If the database can't be read.
pub async fn list(database: &Database) -> Result<Vec<User>, Error> {
    let rows = sqlx::query!(
        "SELECT id, email, is_admin, created_at FROM users WHERE id <> $1 ORDER BY lower(email)",
        UserId::NONE.0,
    )
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
