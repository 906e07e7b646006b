//! The migrations, which are compiled in: runs them, and says how a database's schema stands to them.
//!
//! Versions overlap while an upgrade rolls out, so a schema may know more than this program does. What a migration
//! took away it tells by its name, `NNNN_contract_MMMM_…`: who does not know migration MMMM, which brought the new
//! form, can't run any more.

use std::collections::BTreeMap;

use sqlx::migrate::{MigrateError, Migrator};

use crate::error::Error;
use crate::pool::Database;

/// How the schema of a database stands to this version of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schema {
    /// It is this version's.
    Current,
    /// Migrations of this version, named here, have not run: it can't work yet.
    Behind(Vec<i64>),
    /// It has migrations of a newer version, named here, beside which this one works.
    Newer(Vec<i64>),
    /// It lacks what this version needs, since a newer one took it away: this one can't work any more.
    TooNew(i64),
}

/// Brings the schema up to date, as far as this version knows, and says how it stands then. Processes that do so at
/// once wait for each other.
///
/// # Errors
/// [`Error::Migrate`] with the migration that failed; that one has changed nothing.
pub async fn migrate(database: &Database) -> Result<Schema, Error> {
    if let too_new @ Schema::TooNew(_) = schema(database).await? {
        return Ok(too_new);
    }
    migrator().run(database.pool()).await?;
    schema(database).await
}

/// Says how the schema stands, and changes nothing.
///
/// # Errors
/// When the database can't be read, or a migration is another one than it was when it ran.
pub async fn schema(database: &Database) -> Result<Schema, Error> {
    // The table is sqlx's own and no migration makes it, so the query can't be checked at compile time.
    let rows: Result<Vec<(i64, String, Vec<u8>)>, Error> =
        sqlx::query_as("SELECT version, description, checksum FROM _sqlx_migrations WHERE success")
            .fetch_all(database.pool())
            .await
            .map_err(Error::from);
    let rows = match rows {
        // Nobody has ever migrated.
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
            Some(_) => return Err(MigrateError::VersionMismatch(version).into()),
            None => {
                let gone = contracts(&description).filter(|old| !known.contains_key(old));
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

/// Those of a newer version are none of this one's business.
fn migrator() -> Migrator {
    let mut migrator = Migrator::with_migrations(KNOWN.iter().cloned().collect());
    migrator.set_ignore_missing(true);
    migrator
}

/// Of which migration a migration of this name takes the old form away.
fn contracts(description: &str) -> Option<i64> {
    let mut words = description.split(' ');
    let is_contract = words.next() == Some("contract");
    words.next()?.parse().ok().filter(|_| is_contract)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_that_takes_something_away_says_so_by_its_name() {
        for (description, old) in [
            ("contract 0047 servers disk", Some(47)),
            ("contract 47", Some(47)),
            ("contract servers", None),
            ("contract", None),
            ("contracts 0047", None),
            ("users", None),
        ] {
            assert_eq!(contracts(description), old, "{description}");
        }
    }
}
