//! Subusers: users with permissions on servers that they do not own.

use holdfast_domain::{Permission, ServerId, UserId};

use crate::error::Error;
use crate::operator_log::Change;
use crate::pool::Database;

/// A subuser of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subuser {
    /// The user.
    pub user: UserId,
    /// The email address of the user.
    pub email: String,
    /// The permissions of the user.
    pub permissions: Vec<Permission>,
}

/// Sets the permissions of a user on a server. An empty list removes the subuser.
///
/// # Errors
/// [`Error::Missing`] if the server or the user does not exist.
pub async fn set(
    change: &mut Change,
    server: ServerId,
    user: UserId,
    permissions: &[Permission],
) -> Result<(), Error> {
    if permissions.is_empty() {
        sqlx::query!(
            "DELETE FROM subusers WHERE server_id = $1 AND user_id = $2",
            server.0,
            user.0
        )
        .execute(change.connection())
        .await?;
        return Ok(());
    }
    let names: Vec<String> = permissions.iter().map(|p| p.as_str().to_owned()).collect();
    sqlx::query!(
        "INSERT INTO subusers (server_id, user_id, permissions) VALUES ($1, $2, $3)
         ON CONFLICT (server_id, user_id) DO UPDATE SET permissions = EXCLUDED.permissions",
        server.0,
        user.0,
        &names,
    )
    .execute(change.connection())
    .await?;
    Ok(())
}

/// Lists the subusers of a server, by email address.
///
/// # Errors
/// If the database can't be read.
pub async fn list(database: &Database, server: ServerId) -> Result<Vec<Subuser>, Error> {
    let rows = sqlx::query!(
        "SELECT s.user_id, u.email, s.permissions FROM subusers s JOIN users u ON u.id = s.user_id
         WHERE s.server_id = $1 ORDER BY lower(u.email)",
        server.0,
    )
    .fetch_all(database.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Subuser {
            user: UserId(row.user_id),
            email: row.email,
            permissions: parse(&row.permissions),
        })
        .collect())
}

/// Lists the subusers of all servers, by server and then by email address.
///
/// # Errors
/// If the database can't be read.
pub async fn list_all(database: &Database) -> Result<Vec<(ServerId, Subuser)>, Error> {
    let rows = sqlx::query!(
        "SELECT s.server_id, s.user_id, u.email, s.permissions
         FROM subusers s JOIN users u ON u.id = s.user_id ORDER BY s.server_id, lower(u.email)",
    )
    .fetch_all(database.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let subuser = Subuser {
                user: UserId(row.user_id),
                email: row.email,
                permissions: parse(&row.permissions),
            };
            (ServerId(row.server_id), subuser)
        })
        .collect())
}

fn parse(permissions: &[String]) -> Vec<Permission> {
    let known = permissions.iter().map(|name| Permission::parse(name));
    known.flatten().collect()
}
