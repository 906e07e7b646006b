//! Errors of the database, divided by what the caller can do about them.

use std::sync::Arc;

/// SQLSTATE codes, or the start of them, of errors after which the same call may succeed later:
/// connection errors, lost deadlocks, too few resources, shutdown, read-only mode; the errors of a
/// server whose user or database does not exist yet or any more; and a query that an operator has
/// cancelled, or that has exceeded a time limit.
const TEMPORARY_CODES: [&str; 11] = [
    "08", "40", "53", "57P", "25006", "28", "3D", "57014", "55P03", "25P03", "25P04",
];

/// Why a call to the database failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `database.url` is not a valid URL.
    #[error("the database URL can't be read")]
    Url(#[source] sqlx::Error),
    /// The database cannot be used as it is. The text says what to change.
    #[error("{0}")]
    Unsuitable(String),
    /// The database can't be reached, or is read-only at the moment. The same call may succeed
    /// later.
    #[error("the database can't be reached")]
    Unavailable(#[source] sqlx::Error),
    /// A unique constraint was violated: such a row already exists.
    #[error("it already exists ({constraint})")]
    Conflict {
        /// The name of the constraint in the schema.
        constraint: String,
    },
    /// A row refers to a row that does not exist.
    #[error("it refers to a row that does not exist ({constraint})")]
    Missing {
        /// The name of the constraint in the schema.
        constraint: String,
    },
    /// A row has a value that no version of this program writes.
    #[error("the database contains an invalid {what}: `{value}`")]
    Unreadable {
        /// What the value should be.
        what: &'static str,
        /// The value.
        value: String,
    },
    /// The tables do not exist: no migration has run.
    #[error("the database has no tables of this version: run `holdfast migrate`")]
    NotMigrated,
    /// The database was migrated by files that this version does not have.
    #[error(
        "migration {0} of the database differs from this version's: the database was made before \
         version 0.1.0, or by a changed build. Start with a new database, and import the backups \
         with `holdfast admin storage import`"
    )]
    OtherMigration(i64),
    /// A migration failed.
    #[error("the schema could not be brought up to date")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The error of a batch, shared by all of its requests.
    #[error(transparent)]
    Shared(Arc<Error>),
    /// Any other error: a bug.
    #[error("a query failed")]
    Query(#[source] sqlx::Error),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
            sqlx::Error::Database(database) => match database.code().as_deref() {
                Some("23505") => Self::Conflict {
                    constraint: database.constraint().unwrap_or_default().to_owned(),
                },
                Some("42P01") => Self::NotMigrated,
                Some("23503") => Self::Missing {
                    constraint: database.constraint().unwrap_or_default().to_owned(),
                },
                Some(code) if TEMPORARY_CODES.iter().any(|class| code.starts_with(class)) => {
                    Self::Unavailable(error)
                }
                _ => Self::Query(error),
            },
            _ => Self::Query(error),
        }
    }
}

impl Error {
    /// Returns whether the same call may succeed a little later.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Shared(error) => error.is_temporary(),
            _ => false,
        }
    }

    /// Returns whether the connection had broken since it was last used. The database may be
    /// available all the same.
    pub(crate) fn is_broken_connection(&self) -> bool {
        match self {
            Self::Unavailable(sqlx::Error::Io(_)) => true,
            // "terminating connection due to administrator command"
            Self::Unavailable(sqlx::Error::Database(error)) => {
                error.code().as_deref() == Some("57P01")
            }
            _ => false,
        }
    }

    /// Returns the error for a value that is not a valid `what`.
    pub(crate) fn unreadable(what: &'static str, value: impl ToString) -> Self {
        Self::Unreadable {
            what,
            value: value.to_string(),
        }
    }
}
