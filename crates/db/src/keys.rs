//! API keys. This module sees hashes of their secrets, never the secrets.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use holdfast_domain::key::{ApiKey, KeyIdentifier, KeyKind};
use holdfast_domain::{Permission, Profile, ServerAccess, UserId};

use crate::error::Error;
use crate::operator_log::Change;
use crate::pool::{COUNT_MAX, Database, clamp_offset};

/// A key with the facts about its user that authentication needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyOfUser {
    /// The key.
    pub api_key: ApiKey,
    /// Whether the user is an administrator.
    pub is_admin: bool,
    /// The email address of the user.
    pub email: String,
}

impl KeyOfUser {
    /// Returns the access of the user to a server, if there is any. `permissions` are those of the
    /// user as a subuser of the server.
    pub(crate) fn access(
        &self,
        owner: UserId,
        permissions: Option<&[String]>,
    ) -> Option<ServerAccess> {
        if owner == self.api_key.user {
            return Some(ServerAccess::Owner);
        }
        if self.is_admin {
            return Some(ServerAccess::Admin);
        }
        let names = permissions?.iter();
        let permissions = names.filter_map(|name| Permission::parse(name)).collect();
        Some(ServerAccess::Subuser(permissions))
    }
}

pub(crate) struct KeyRow {
    pub(crate) identifier: String,
    pub(crate) user_id: Uuid,
    pub(crate) kind: String,
    pub(crate) profile: String,
    pub(crate) secret_hash: Vec<u8>,
    pub(crate) description: String,
    pub(crate) allowed_ips: Vec<String>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) is_admin: bool,
    pub(crate) email: String,
}

impl TryFrom<KeyRow> for KeyOfUser {
    type Error = Error;

    fn try_from(row: KeyRow) -> Result<Self, Error> {
        let networks: Result<_, Error> = row
            .allowed_ips
            .iter()
            .map(|text| text.parse().map_err(|_| Error::unreadable("network", text)))
            .collect();
        let api_key = ApiKey {
            identifier: KeyIdentifier::parse(&row.identifier)
                .ok_or_else(|| Error::unreadable("key identifier", &row.identifier))?,
            user: UserId(row.user_id),
            kind: KeyKind::parse(&row.kind)
                .ok_or_else(|| Error::unreadable("key kind", &row.kind))?,
            profile: Profile::parse(&row.profile)
                .ok_or_else(|| Error::unreadable("profile", &row.profile))?,
            secret_hash: row
                .secret_hash
                .try_into()
                .map_err(|_| Error::unreadable("secret hash", &row.identifier))?,
            description: row.description,
            allowed_ips: networks?,
            expires_at: row.expires_at,
            created_at: row.created_at,
        };
        Ok(Self {
            api_key,
            is_admin: row.is_admin,
            email: row.email,
        })
    }
}

/// Inserts a key.
///
/// # Errors
/// [`Error::Conflict`] if the identifier is taken.
pub async fn create(change: &mut Change, key: &ApiKey) -> Result<(), Error> {
    let networks: Vec<String> = key.allowed_ips.iter().map(ToString::to_string).collect();
    sqlx::query!(
        "INSERT INTO api_keys (identifier, user_id, kind, profile, secret_hash, description,
                               allowed_ips, expires_at, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        key.identifier.as_str(),
        key.user.0,
        key.kind.as_str(),
        key.profile.as_str(),
        key.secret_hash.as_slice(),
        key.description,
        &networks,
        key.expires_at,
        key.created_at,
    )
    .execute(change.connection())
    .await?;
    Ok(())
}

/// Lists a page of keys, oldest first. Filters by user if one is given.
///
/// # Errors
/// If the database can't be read.
pub async fn page(
    database: &Database,
    user: Option<UserId>,
    limit: u32,
    offset: u64,
) -> Result<Vec<KeyOfUser>, Error> {
    let (limit, offset) = (i64::from(limit), clamp_offset(offset));
    let rows = match user {
        Some(user) => {
            sqlx::query_as!(
                KeyRow,
                "SELECT k.identifier, k.user_id, k.kind, k.profile, k.secret_hash, k.description,
                        k.allowed_ips, k.expires_at, k.created_at, u.is_admin, u.email
                 FROM api_keys k JOIN users u ON u.id = k.user_id
                 WHERE k.user_id = $1
                 ORDER BY k.created_at, k.identifier LIMIT $2 OFFSET $3",
                user.0,
                limit,
                offset,
            )
            .fetch_all(database.pool())
            .await?
        }
        None => {
            sqlx::query_as!(
                KeyRow,
                "SELECT k.identifier, k.user_id, k.kind, k.profile, k.secret_hash, k.description,
                        k.allowed_ips, k.expires_at, k.created_at, u.is_admin, u.email
                 FROM api_keys k JOIN users u ON u.id = k.user_id
                 ORDER BY k.created_at, k.identifier LIMIT $1 OFFSET $2",
                limit,
                offset,
            )
            .fetch_all(database.pool())
            .await?
        }
    };
    rows.into_iter().map(KeyOfUser::try_from).collect()
}

/// Counts keys, up to 100,000. Filters by user if one is given.
///
/// # Errors
/// If the database can't be read.
pub async fn count(database: &Database, user: Option<UserId>) -> Result<u64, Error> {
    let count = match user {
        Some(user) => {
            sqlx::query_scalar!(
                r#"SELECT count(*) AS "count!" FROM (
                       SELECT 1 FROM api_keys WHERE user_id = $1 LIMIT $2
                   ) rows"#,
                user.0,
                COUNT_MAX,
            )
            .fetch_one(database.pool())
            .await?
        }
        None => {
            sqlx::query_scalar!(
                r#"SELECT count(*) AS "count!" FROM (SELECT 1 FROM api_keys LIMIT $1) rows"#,
                COUNT_MAX
            )
            .fetch_one(database.pool())
            .await?
        }
    };
    Ok(count.unsigned_abs())
}

/// Lists keys, oldest first. Filters by the email address of the user if one is given.
///
/// # Errors
/// If the database can't be read.
pub async fn list(database: &Database, email: Option<&str>) -> Result<Vec<KeyOfUser>, Error> {
    sqlx::query_as!(
        KeyRow,
        "SELECT k.identifier, k.user_id, k.kind, k.profile, k.secret_hash, k.description,
                k.allowed_ips, k.expires_at, k.created_at, u.is_admin, u.email
         FROM api_keys k JOIN users u ON u.id = k.user_id
         WHERE $1::text IS NULL OR lower(u.email) = lower($1)
         ORDER BY k.created_at, k.identifier",
        email,
    )
    .fetch_all(database.pool())
    .await?
    .into_iter()
    .map(KeyOfUser::try_from)
    .collect()
}

/// Deletes a key. Returns whether it existed.
///
/// # Errors
/// If the database can't be written.
pub async fn revoke(change: &mut Change, identifier: &KeyIdentifier) -> Result<bool, Error> {
    let done = sqlx::query!(
        "DELETE FROM api_keys WHERE identifier = $1",
        identifier.as_str()
    )
    .execute(change.connection())
    .await?;
    Ok(done.rows_affected() == 1)
}
