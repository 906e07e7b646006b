//! Checks whether a database server can hold Holdfast's database, before anything is read or
//! written.
//!
//! What a session can set for itself is set when it begins (see `pool`). This module finds what
//! only an operator can change, and says how.

use sqlx::{PgConnection, Row as _};

use crate::error::Error;
use crate::pool::Database;

/// The oldest supported version of PostgreSQL, as in `server_version_num`.
const OLDEST_VERSION: i64 = 140_000;
/// How often two connections are asked for their sessions. A pooler gives them the same one, or
/// another one, long before.
const PROBES: usize = 4;

/// What the check knows about a database. All values are text, since the queries must not need
/// prepared statements.
struct Facts {
    database: String,
    encoding: String,
    version: i64,
    version_text: String,
    is_standby: bool,
    is_read_only: bool,
    search_path: String,
    /// The schema that new tables would be in.
    schema: Option<String>,
    /// The schema that has the tables.
    tables_in: Option<String>,
    /// A command that creates a database like this one in UTF-8.
    create_command: String,
}

/// Checks that the database can be used.
///
/// # Errors
/// [`Error::Unsuitable`] says what the operator has to change. Other errors if the database cannot
/// be reached.
pub async fn check_server(database: &Database) -> Result<(), Error> {
    let mut connection = database.pool().acquire().await?;
    check_sessions(database, &mut connection).await?;
    let facts = facts(&mut connection).await?;
    facts
        .problem()
        .map_or(Ok(()), |problem| Err(Error::Unsuitable(problem)))
}

/// Checks that a connection keeps its session. Behind a pooler in transaction or statement mode, it
/// does not: then prepared statements, LISTEN and locks of sessions do not work.
async fn check_sessions(database: &Database, first: &mut PgConnection) -> Result<(), Error> {
    let other = database.connect_once_more().await?;
    let mut second = other.acquire().await?;
    let (mut of_first, mut of_second) = (None, None);
    for _ in 0..PROBES {
        let now_first = backend(first).await?;
        // A pooler that takes its sessions in turn may give the same one to every second query. So
        // the second connection asks twice.
        for _ in 0..2 {
            let now_second = backend(&mut second).await?;
            let has_changed = |before: &Option<String>, now: &String| {
                before.as_ref().is_some_and(|before| before != now)
            };
            if now_first == now_second
                || has_changed(&of_first, &now_first)
                || has_changed(&of_second, &now_second)
            {
                return Err(Error::Unsuitable(
                    "a connection pooler between Holdfast and PostgreSQL shares sessions between \
                     connections (PgBouncer: pool_mode = transaction or statement): use pool_mode \
                     = session, or connect to PostgreSQL directly"
                        .to_owned(),
                ));
            }
            of_second = Some(now_second);
        }
        of_first = Some(now_first);
    }
    drop(second);
    other.close().await;
    Ok(())
}

/// Returns the process that serves a connection.
async fn backend(connection: &mut PgConnection) -> Result<String, Error> {
    let row = sqlx::raw_sql("SELECT pg_backend_pid()::text")
        .fetch_one(connection)
        .await?;
    Ok(row.try_get(0)?)
}

async fn facts(connection: &mut PgConnection) -> Result<Facts, Error> {
    let row = sqlx::raw_sql(
        "SELECT current_database()::text AS database,
                current_setting('server_encoding') AS encoding,
                current_setting('server_version_num') AS version,
                current_setting('server_version') AS version_text,
                pg_is_in_recovery()::text AS is_standby,
                current_setting('transaction_read_only') AS read_only,
                current_setting('search_path') AS search_path,
                current_schema()::text AS schema,
                (SELECT relnamespace::regnamespace::text FROM pg_class
                 WHERE oid = to_regclass('_sqlx_migrations')) AS tables_in,
                format('CREATE DATABASE %I OWNER %I TEMPLATE template0 ENCODING ''UTF8'' '
                       'LOCALE ''C.UTF-8''', current_database() || '_utf8', current_user)
                    AS create_command",
    )
    .fetch_one(connection)
    .await?;
    let version: String = row.try_get("version")?;
    Ok(Facts {
        database: row.try_get("database")?,
        encoding: row.try_get("encoding")?,
        version: version
            .parse()
            .map_err(|_| Error::unreadable("version", version))?,
        version_text: row.try_get("version_text")?,
        is_standby: row.try_get::<String, _>("is_standby")? == "true",
        is_read_only: row.try_get::<String, _>("read_only")? == "on",
        search_path: row.try_get("search_path")?,
        schema: row.try_get("schema")?,
        tables_in: row.try_get("tables_in")?,
        create_command: row.try_get("create_command")?,
    })
}

impl Facts {
    /// Returns what makes the database unsuitable, and what to do.
    fn problem(&self) -> Option<String> {
        let Self {
            database,
            encoding,
            version_text,
            search_path,
            create_command,
            ..
        } = self;
        if self.version < OLDEST_VERSION {
            let oldest = OLDEST_VERSION / 10_000;
            return Some(format!(
                "PostgreSQL {version_text} is too old: version {oldest} or newer is needed"
            ));
        }
        if encoding != "UTF8" {
            return Some(format!(
                "the database `{database}` has the encoding {encoding}, which cannot hold every \
                 file name: create another one with `{create_command}`, and name it in \
                 database.url (HOLDFAST__DATABASE__URL)"
            ));
        }
        if self.is_standby {
            return Some(format!(
                "the server of the database `{database}` is a standby, which cannot be written \
                 to: connect to the primary server"
            ));
        }
        if self.is_read_only {
            return Some(format!(
                "the database `{database}` is read-only for this user: set \
                 default_transaction_read_only to off, for example with `ALTER DATABASE` or \
                 `ALTER ROLE`"
            ));
        }
        match (&self.schema, &self.tables_in) {
            (None, _) => Some(format!(
                "no schema of search_path ({search_path}) exists in the database `{database}`: \
                 create one, or change search_path with `ALTER ROLE`"
            )),
            (Some(schema), Some(tables_in)) if schema != tables_in => Some(format!(
                "the tables are in the schema {tables_in}, but with search_path ({search_path}) \
                 new ones would be in the schema {schema}: put {tables_in} first with `ALTER ROLE \
                 … SET search_path`"
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_of_postgres_that_is_too_old_is_refused() {
        let facts = |version: i64, version_text: &str| Facts {
            database: "holdfast".to_owned(),
            encoding: "UTF8".to_owned(),
            version,
            version_text: version_text.to_owned(),
            is_standby: false,
            is_read_only: false,
            search_path: "public".to_owned(),
            schema: Some("public".to_owned()),
            tables_in: None,
            create_command: String::new(),
        };
        assert_eq!(facts(140_000, "14.0").problem(), None);
        assert_eq!(
            facts(130_022, "13.22").problem().as_deref(),
            Some("PostgreSQL 13.22 is too old: version 14 or newer is needed")
        );
    }
}
