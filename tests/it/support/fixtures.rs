//! Changes by an operator before or during a test. Each is a separate change, as the command line
//! would make it.

use holdfast_db::operator_log::{Change, OperatorAction};
use holdfast_db::webhooks::{self, Webhook};
use holdfast_db::{Database, Error, keys, servers, subusers, users};
use holdfast_domain::key::{ApiKey, KeyIdentifier};
use holdfast_domain::{Permission, Server, ServerId, UserId};

/// Makes a change and commits it, unless it is refused.
pub(crate) async fn changed<T>(
    database: &Database,
    make: impl AsyncFnOnce(&mut Change) -> Result<T, Error>,
) -> Result<T, Error> {
    let asked = OperatorAction::Command {
        command: "a test".to_owned(),
        typed_by: "a test".to_owned(),
    };
    let mut change = Change::begin(database, asked).await?;
    let made = make(&mut change).await?;
    change.commit(None, None).await?;
    Ok(made)
}

pub(crate) async fn user(
    database: &Database,
    id: UserId,
    email: &str,
    is_admin: bool,
) -> Result<users::User, Error> {
    changed(database, async |change| {
        users::create(change, id, email, is_admin).await
    })
    .await
}

pub(crate) async fn key(database: &Database, key: &ApiKey) -> Result<(), Error> {
    changed(database, async |change| keys::create(change, key).await).await
}

pub(crate) async fn no_key(database: &Database, key: &KeyIdentifier) -> Result<bool, Error> {
    changed(database, async |change| keys::revoke(change, key).await).await
}

pub(crate) async fn subuser(
    database: &Database,
    server: ServerId,
    user: UserId,
    permissions: &[Permission],
) -> Result<(), Error> {
    changed(database, async |change| {
        subusers::set(change, server, user, permissions).await
    })
    .await
}

pub(crate) async fn server(database: &Database, server: &Server) -> Result<(), Error> {
    changed(database, async |change| servers::save(change, server).await).await
}

pub(crate) async fn webhook(database: &Database, webhook: &Webhook) -> Result<(), Error> {
    changed(database, async |change| {
        webhooks::create(change, webhook).await
    })
    .await
}
