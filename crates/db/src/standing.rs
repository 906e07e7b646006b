//! The standing of a caller, read and locked in the transaction that acts.
//!
//! A key may be revoked, and a permission withdrawn, after the request was looked up. Both wait for
//! the locks taken here, or this waits for them: either the action comes first, or it is refused.
//!
//! All transactions lock in one order, so that they cannot deadlock: the server, then the user, the
//! key and the subuser, then jobs and backups. Deleting a server or a user locks in this order.
//! A transaction that changes users or keys holds other rows of the same tables than it locks here.
//! So it locks the administrators first: see [`users::lock_admins`](crate::users::lock_admins).

use holdfast_domain::key::KeyIdentifier;
use holdfast_domain::{ServerAccess, ServerId, UserId};

use crate::error::Error;
use crate::keys::{KeyOfUser, KeyRow};
use crate::pool::Transaction;

/// What a caller may do, until the transaction ends.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The key with its user. `ApiKey::check` decides whether it may be used.
    pub key: KeyOfUser,
    /// The access of the user to the server, if there is any.
    pub access: Option<ServerAccess>,
}

/// Locks the key of a user, and the user's access to a server, until the transaction ends. Returns
/// `None` if the key does not exist any more.
///
/// # Errors
/// If the database can't be read.
pub async fn lock(
    transaction: &mut Transaction,
    user: UserId,
    key: &KeyIdentifier,
    server: Option<ServerId>,
) -> Result<Option<Standing>, Error> {
    // Each lock has a statement of its own, so that their order is certain.
    let owner = match server {
        Some(server) => lock_server(transaction, server).await?,
        None => None,
    };
    let Some(key) = lock_key(transaction, user, key).await? else {
        return Ok(None);
    };
    let access = match server.zip(owner) {
        Some((_, owner)) if owner == user || key.is_admin => key.access(owner, None),
        Some((server, owner)) => {
            let permissions = lock_permissions(transaction, server, user).await?;
            key.access(owner, permissions.as_deref())
        }
        None => None,
    };
    Ok(Some(Standing { key, access }))
}

/// Locks a server as [`servers::lock`](crate::servers::lock) does, and returns its owner.
async fn lock_server(
    transaction: &mut Transaction,
    server: ServerId,
) -> Result<Option<UserId>, Error> {
    let owner = sqlx::query_scalar!(
        "SELECT owner_id FROM servers WHERE id = $1 AND deleting_at IS NULL FOR NO KEY UPDATE",
        server.0
    )
    .fetch_optional(transaction.connection())
    .await?;
    Ok(owner.map(UserId))
}

async fn lock_key(
    transaction: &mut Transaction,
    user: UserId,
    key: &KeyIdentifier,
) -> Result<Option<KeyOfUser>, Error> {
    let user = sqlx::query!(
        "SELECT id, email, is_admin FROM users WHERE id = $1 FOR SHARE",
        user.0
    )
    .fetch_optional(transaction.connection())
    .await?;
    let Some(user) = user else {
        return Ok(None);
    };
    let row = sqlx::query!(
        "SELECT identifier, user_id, kind, profile, secret_hash, description, allowed_ips,
                expires_at, created_at
         FROM api_keys WHERE identifier = $1 AND user_id = $2 FOR SHARE",
        key.as_str(),
        user.id
    )
    .fetch_optional(transaction.connection())
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    KeyOfUser::try_from(KeyRow {
        identifier: row.identifier,
        user_id: row.user_id,
        kind: row.kind,
        profile: row.profile,
        secret_hash: row.secret_hash,
        description: row.description,
        allowed_ips: row.allowed_ips,
        expires_at: row.expires_at,
        created_at: row.created_at,
        is_admin: user.is_admin,
        email: user.email,
    })
    .map(Some)
}

async fn lock_permissions(
    transaction: &mut Transaction,
    server: ServerId,
    user: UserId,
) -> Result<Option<Vec<String>>, Error> {
    let permissions = sqlx::query_scalar!(
        "SELECT permissions FROM subusers WHERE server_id = $1 AND user_id = $2 FOR SHARE",
        server.0,
        user.0
    )
    .fetch_optional(transaction.connection())
    .await?;
    Ok(permissions)
}
