//! The operators' log: what they change, written in the transaction of the change. What only operators may change is
//! changed through a [`Change`], which can't be committed without its line.

use std::ops::{Deref, DerefMut};

use chrono::{DateTime, Utc};
use sqlx::{Executor, Postgres};
use uuid::Uuid;

use holdfast_domain::activity::RequestOrigin;
use holdfast_domain::{RequestId, TraceContext};

use crate::error::Error;
use crate::pool::{COUNT_MAX, Database, Transaction, skip};

/// What is asked for, and who asks.
#[derive(Clone, Debug)]
pub enum OperatorAction {
    /// A request to the application API.
    Request {
        /// Who asks, with which key, from where.
        origin: RequestOrigin,
        /// The request's method.
        method: String,
        /// The request's path.
        path: String,
        /// By which the request is found in logs.
        request_id: RequestId,
    },
    /// A command.
    Command {
        /// Which, such as `admin user create`.
        command: String,
        /// Who typed it where, such as `root@games-1`.
        typed_by: String,
    },
}

/// A transaction in which an operator changes something. Dropped without [`Change::commit`], nothing of it is true,
/// nor is it in the log.
#[derive(Debug)]
pub struct Change {
    transaction: Transaction,
    asked: OperatorAction,
}

impl Deref for Change {
    type Target = Transaction;

    fn deref(&self) -> &Transaction {
        &self.transaction
    }
}

impl DerefMut for Change {
    fn deref_mut(&mut self) -> &mut Transaction {
        &mut self.transaction
    }
}

impl Change {
    /// Begins one.
    ///
    /// # Errors
    /// When no connection is to be had.
    pub async fn begin(database: &Database, asked: OperatorAction) -> Result<Self, Error> {
        let transaction = database.begin().await?;
        Ok(Self { transaction, asked })
    }

    /// The same one, for a request: the jobs that it puts in carry the request's name.
    #[must_use]
    pub fn of(self, trace: TraceContext) -> Self {
        let transaction = self.transaction.of(trace);
        Self {
            transaction,
            ..self
        }
    }

    /// Makes everything that was done in it true, and writes it down: with what it was done to, where a path does not
    /// name that, and what is answered, to a request.
    ///
    /// # Errors
    /// When it can't be; as [`Transaction::commit`].
    pub async fn commit(mut self, subject: Option<&str>, status: Option<u16>) -> Result<(), Error> {
        let connection = self.transaction.connection();
        write(connection, &self.asked, subject, status).await?;
        self.transaction.commit().await
    }
}

/// Writes down what was asked for and not done.
///
/// # Errors
/// When the database can't be written.
pub async fn refused(
    database: &Database,
    asked: &OperatorAction,
    status: u16,
) -> Result<(), Error> {
    write(database.pool(), asked, None, Some(status)).await
}

async fn write(
    executor: impl Executor<'_, Database = Postgres>,
    asked: &OperatorAction,
    subject: Option<&str>,
    status: Option<u16>,
) -> Result<(), Error> {
    let status = status.map(i32::from);
    let query = match asked {
        OperatorAction::Request {
            origin,
            method,
            path,
            request_id,
        } => sqlx::query!(
            "INSERT INTO operator_actions (actor_id, actor_email, key_identifier, address, method, path, request_id,
                                     subject, status)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            origin.user.0,
            origin.email,
            origin.key,
            origin.address.map(|address| address.to_string()),
            method,
            path,
            request_id.as_str(),
            subject,
            status,
        ),
        OperatorAction::Command { command, typed_by } => sqlx::query!(
            "INSERT INTO operator_actions (command, typed_by, subject, status) VALUES ($1, $2, $3, $4)",
            command,
            typed_by,
            subject,
            status,
        ),
    };
    query.execute(executor).await?;
    Ok(())
}

/// A line of the log. What a request says of itself is not there for a command, and the other way round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorLogEntry {
    /// Its number: later ones are greater.
    pub id: i64,
    /// Who asked, by UUID.
    pub actor: Option<Uuid>,
    /// Who asked, by address.
    pub actor_email: Option<String>,
    /// The public part of the key.
    pub key: Option<String>,
    /// From where.
    pub address: Option<String>,
    /// The request's method.
    pub method: Option<String>,
    /// The request's path.
    pub path: Option<String>,
    /// By which the request is found in logs.
    pub request_id: Option<String>,
    /// Which command it was.
    pub command: Option<String>,
    /// Who typed it where.
    pub typed_by: Option<String>,
    /// What it was done to, where a path does not name that.
    pub subject: Option<String>,
    /// What was answered to a request.
    pub status: Option<i32>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Counts the lines, up to a hundred thousand.
///
/// # Errors
/// When the database can't be read.
pub async fn count(database: &Database) -> Result<u64, Error> {
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM (SELECT 1 FROM operator_actions LIMIT $1) rows"#,
        COUNT_MAX
    )
    .fetch_one(database.pool())
    .await?;
    Ok(count.unsigned_abs())
}

/// Lists lines, newest first, from `offset` on, at most `limit`.
///
/// # Errors
/// When the database can't be read.
pub async fn list(
    database: &Database,
    limit: u32,
    offset: u64,
) -> Result<Vec<OperatorLogEntry>, Error> {
    let lines = sqlx::query_as!(
        OperatorLogEntry,
        "SELECT id, actor_id AS actor, actor_email, key_identifier AS key, address, method, path, request_id, command,
                typed_by, subject, status, created_at AS at
         FROM operator_actions ORDER BY id DESC LIMIT $1 OFFSET $2",
        i64::from(limit),
        skip(offset),
    )
    .fetch_all(database.pool())
    .await?;
    Ok(lines)
}
