//! What can go wrong with the database, told apart by what the caller can do.

use std::sync::Arc;

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `database.url` can't be read.
    #[error("the database URL can't be read")]
    Url(#[source] sqlx::Error),
    /// It can't be reached, or takes no writes now. The same call may succeed later.
    #[error("the database can't be reached")]
    Unavailable(#[source] sqlx::Error),
    /// A unique constraint was broken: somebody was first.
    #[error("there is one already ({constraint})")]
    Conflict {
        /// The constraint's name in the schema.
        constraint: String,
    },
    /// A row refers to something that is not there.
    #[error("what it refers to does not exist ({constraint})")]
    Missing {
        /// The constraint's name in the schema.
        constraint: String,
    },
    /// A row holds what no version of this program writes.
    #[error("the database holds an unreadable {what}: `{value}`")]
    Unreadable {
        /// What was to be read.
        what: &'static str,
        /// What was found.
        value: String,
    },
    /// The tables are not there: nobody has migrated.
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
    /// What went wrong with a query that answers others as well.
    #[error(transparent)]
    Shared(Arc<Error>),
    /// Anything else: a defect of ours.
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
                // Connection trouble, a deadlock that we lost, too few resources, shutting down, read-only; and what a
                // database says that is not (yet, or any more) ours.
                Some(code)
                    if ["08", "40", "53", "57P", "25006", "28", "3D"]
                        .iter()
                        .any(|class| code.starts_with(class)) =>
                {
                    Self::Unavailable(error)
                }
                _ => Self::Query(error),
            },
            _ => Self::Query(error),
        }
    }
}

impl Error {
    /// Says whether the same call may succeed a little later.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Shared(error) => error.may_pass(),
            _ => false,
        }
    }

    /// Says whether a connection was used that had broken since it was last used, which says nothing of the database.
    pub(crate) fn is_broken_connection(&self) -> bool {
        match self {
            Self::Unavailable(sqlx::Error::Io(_)) => true,
            // "terminating connection due to administrator command"
            Self::Unavailable(sqlx::Error::Database(told)) => {
                told.code().as_deref() == Some("57P01")
            }
            _ => false,
        }
    }

    pub(crate) fn unreadable(what: &'static str, value: impl ToString) -> Self {
        Self::Unreadable {
            what,
            value: value.to_string(),
        }
    }
}
