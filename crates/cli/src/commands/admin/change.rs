//! Records each change that a command makes in the operator log: the command, the user and the
//! host.

use std::os::unix::fs::MetadataExt as _;

use holdfast_db::Database;
use holdfast_db::operator_log::{Change, OperatorAction};

use crate::error::CommandError;
use crate::service;

/// Begins the change of a command: a transaction that also adds an entry to the operator log.
pub(super) async fn begin(database: &Database, command: &str) -> Result<Change, CommandError> {
    let action = OperatorAction::Command {
        command: format!("admin {command}"),
        typed_by: format!("{}@{}", user(), service::host()),
    };
    Ok(Change::begin(database, action).await?)
}

/// Records the start of a command whose changes are many separate transactions.
pub(super) async fn record_start(
    database: &Database,
    command: &str,
    subject: Option<&str>,
) -> Result<(), CommandError> {
    let change = begin(database, command).await?;
    Ok(change.commit(subject, None).await?)
}

/// Returns the user of this process: the name, or the ID if the user has no name.
fn user() -> String {
    let Ok(uid) = fs_err::metadata("/proc/self").map(|metadata| metadata.uid().to_string()) else {
        return "unknown".to_owned();
    };
    let accounts = fs_err::read_to_string("/etc/passwd").unwrap_or_default();
    let name = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1) == Some(&uid)).then(|| name.to_owned())
    });
    name.unwrap_or(uid)
}
