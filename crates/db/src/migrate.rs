//! Runs the migrations, which are compiled into the program, and compares a schema with them.
//!
//! During an upgrade, processes of two versions share a database, so its schema may be newer than
//! this program. A migration that removes something says so by its name, `NNNN_contract_MMMM_…`: a
//! program that does not know migration MMMM, which added the replacement, must not run any more.

use std::collections::BTreeMap;

use sqlx::migrate::Migrator;

use crate::error::Error;
use crate::pool::Database;

/// How the schema of a database relates to this version of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schema {
    /// It is the schema of this version.
    Current,
    /// These migrations have not run yet. This version needs them.
    Behind(Vec<i64>),
    /// It has these migrations of a newer version. This version works with it.
    Newer(Vec<i64>),
    /// A newer version has removed what this version needs: it replaced that by this migration.
    TooNew(i64),
}

/// Runs the migrations that have not run yet and returns how the schema relates to this version
/// then. Processes that migrate at the same time wait for each other.
///
/// # Errors
/// [`Error::Migrate`] names the migration that failed. That migration has changed nothing.
/// [`Error::OtherMigration`] if the database was migrated by other files.
pub async fn migrate(database: &Database) -> Result<Schema, Error> {
    match schema(database).await? {
        too_new @ Schema::TooNew(_) => return Ok(too_new),
        Schema::Behind(_) => check_may_create(database).await?,
        Schema::Current | Schema::Newer(_) => {}
    }
    migrator().run(database.pool()).await?;
    schema(database).await
}

/// Checks that the role of the connection may create tables.
async fn check_may_create(database: &Database) -> Result<(), Error> {
    let (may_create, command): (bool, String) = sqlx::query_as(
        "SELECT has_schema_privilege(current_schema(), 'CREATE'),
                format('GRANT CREATE ON SCHEMA %I TO %I', current_schema(), current_user)",
    )
    .fetch_one(database.pool())
    .await?;
    if may_create {
        return Ok(());
    }
    Err(Error::Unsuitable(format!(
        "the user of the database may not create tables: run `{command}` as the owner of the \
         database"
    )))
}

/// Returns how the schema relates to this version. It changes nothing.
///
/// # Errors
/// If the database can't be read. [`Error::OtherMigration`] if a migration differs from the one
/// that ran.
pub async fn schema(database: &Database) -> Result<Schema, Error> {
    // sqlx creates this table, not a migration. So the query can't be checked at compile time.
    let rows: Result<Vec<(i64, String, Vec<u8>)>, Error> =
        sqlx::query_as("SELECT version, description, checksum FROM _sqlx_migrations WHERE success")
            .fetch_all(database.pool())
            .await
            .map_err(Error::from);
    let rows = match rows {
        // The table does not exist: no migration has ever run.
        Err(Error::NotMigrated) => Vec::new(),
        rows => rows?,
    };
    let known: BTreeMap<i64, &[u8]> = KNOWN
        .iter()
        .map(|migration| (migration.version, migration.checksum.as_ref()))
        .collect();
    let mut missing = known.clone();
    let mut unknown = Vec::new();
    let mut needed = None;
    for (version, description, ran) in rows {
        match missing.remove(&version) {
            Some(checksum) if checksum == ran => {}
            Some(_) => return Err(Error::OtherMigration(version)),
            None => {
                let gone = contracted(&description).filter(|old| !known.contains_key(old));
                needed = needed.max(gone);
                unknown.push(version);
            }
        }
    }
    unknown.sort_unstable();
    Ok(if let Some(needed) = needed {
        Schema::TooNew(needed)
    } else if !missing.is_empty() {
        Schema::Behind(missing.into_keys().collect())
    } else if !unknown.is_empty() {
        Schema::Newer(unknown)
    } else {
        Schema::Current
    })
}

static KNOWN: Migrator = sqlx::migrate!("../../migrations");

/// Returns a migrator that ignores migrations of newer versions in the database.
fn migrator() -> Migrator {
    let mut migrator = Migrator::with_migrations(KNOWN.iter().cloned().collect());
    migrator.set_ignore_missing(true);
    migrator
}

/// Returns the number of the migration that a contract completes, from the contract's description.
fn contracted(description: &str) -> Option<i64> {
    let mut words = description.split(' ');
    let is_contract = words.next() == Some("contract");
    words.next()?.parse().ok().filter(|_| is_contract)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_contract_contains_the_migration_that_it_completes() {
        for (description, old) in [
            ("contract 0047 servers disk", Some(47)),
            ("contract 47", Some(47)),
            ("contract servers", None),
            ("contract", None),
            ("contracts 0047", None),
            ("users", None),
        ] {
            assert_eq!(contracted(description), old, "{description}");
        }
    }
}
