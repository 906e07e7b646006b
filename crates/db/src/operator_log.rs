//! The operator log. An entry is written in the transaction of the change that it describes:
//! functions for operators take a [`Change`], which cannot be committed without its entry.

use std::ops::{Deref, DerefMut};

use chrono::{DateTime, Utc};
use sqlx::{Executor, Postgres};
use uuid::Uuid;

use holdfast_domain::activity::RequestOrigin;
use holdfast_domain::{RequestId, TraceContext};

use crate::error::Error;
use crate::pool::{COUNT_MAX, Database, Transaction, clamp_offset};

/// The action of an operator.
#[derive(Clone, Debug)]
pub enum OperatorAction {
    /// A request to the application API.
    Request {
        /// The user, the API key and the address of the client.
        origin: RequestOrigin,
        /// The HTTP method.
        method: String,
        /// The path.
        path: String,
        /// The ID of the request.
        request_id: RequestId,
    },
    /// A command line.
    Command {
        /// The command, such as `admin user create`.
        command: String,
        /// Who ran it on which machine, such as `root@games-1`.
        typed_by: String,
    },
}

/// A transaction for an action of an operator. If it is dropped without [`Change::commit`], it is
/// rolled back, and nothing is logged.
#[derive(Debug)]
pub struct Change {
    transaction: Transaction,
    action: OperatorAction,
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
    /// Begins the transaction.
    ///
    /// # Errors
    /// If no connection is available.
    pub async fn begin(database: &Database, action: OperatorAction) -> Result<Self, Error> {
        let transaction = database.begin().await?;
        Ok(Self {
            transaction,
            action,
        })
    }

    /// Adds the trace of the request to the jobs that the transaction enqueues.
    #[must_use]
    pub fn with_trace(self, trace: TraceContext) -> Self {
        let transaction = self.transaction.with_trace(trace);
        Self {
            transaction,
            ..self
        }
    }

    /// Adds the entry to the log and commits. `subject` names what was created, if the path does
    /// not name it. `status` is the HTTP status of the answer to a request.
    ///
    /// # Errors
    /// As [`Transaction::commit`].
    pub async fn commit(mut self, subject: Option<&str>, status: Option<u16>) -> Result<(), Error> {
        let connection = self.transaction.connection();
        write(connection, &self.action, subject, status).await?;
        self.transaction.commit().await
    }
}

/// Logs an action that was refused.
///
/// # Errors
/// If the database can't be written.
pub async fn record_refusal(
    database: &Database,
    action: &OperatorAction,
    status: u16,
) -> Result<(), Error> {
    write(database.pool(), action, None, Some(status)).await
}

async fn write(
    executor: impl Executor<'_, Database = Postgres>,
    action: &OperatorAction,
    subject: Option<&str>,
    status: Option<u16>,
) -> Result<(), Error> {
    let status = status.map(i32::from);
    let query = match action {
        OperatorAction::Request {
            origin,
            method,
            path,
            request_id,
        } => sqlx::query!(
            "INSERT INTO operator_actions (actor_id, actor_email, key_identifier, address, method,
                                           path, request_id, subject, status)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            origin.user.map(|user| user.0),
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
            "INSERT INTO operator_actions (command, typed_by, subject, status)
             VALUES ($1, $2, $3, $4)",
            command,
            typed_by,
            subject,
            status,
        ),
    };
    query.execute(executor).await?;
    Ok(())
}

/// An entry of the log. Fields of requests are `None` for a command, and the other way round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorLogEntry {
    /// The number of the entry. Later entries have greater numbers.
    pub id: i64,
    /// The UUID of the user.
    pub actor: Option<Uuid>,
    /// The email address of the user.
    pub actor_email: Option<String>,
    /// The public part of the API key.
    pub key: Option<String>,
    /// The IP address of the client.
    pub address: Option<String>,
    /// The HTTP method.
    pub method: Option<String>,
    /// The path.
    pub path: Option<String>,
    /// The ID of the request.
    pub request_id: Option<String>,
    /// The command.
    pub command: Option<String>,
    /// Who ran the command on which machine.
    pub typed_by: Option<String>,
    /// What was created, if the path does not name it.
    pub subject: Option<String>,
    /// The HTTP status of the answer to a request.
    pub status: Option<i32>,
    /// When it happened.
    pub at: DateTime<Utc>,
}

/// Counts the entries, up to 100,000.
///
/// # Errors
/// If the database can't be read.
pub async fn count(database: &Database) -> Result<u64, Error> {
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM (SELECT 1 FROM operator_actions LIMIT $1) rows"#,
        COUNT_MAX
    )
    .fetch_one(database.pool())
    .await?;
    Ok(count.unsigned_abs())
}

/// Lists a page of the entries, newest first.
///
/// # Errors
/// If the database can't be read.
pub async fn list(
    database: &Database,
    limit: u32,
    offset: u64,
) -> Result<Vec<OperatorLogEntry>, Error> {
    let entries = sqlx::query_as!(
        OperatorLogEntry,
        "SELECT id, actor_id AS actor, actor_email, key_identifier AS key, address, method, path,
                request_id, command, typed_by, subject, status, created_at AS at
         FROM operator_actions ORDER BY id DESC LIMIT $1 OFFSET $2",
        i64::from(limit),
        clamp_offset(offset),
    )
    .fetch_all(database.pool())
    .await?;
    Ok(entries)
}
