//! What a command changes, written down with it in the operators' log: which command, and who typed it where.

use std::os::unix::fs::MetadataExt as _;

use holdfast_db::Database;
use holdfast_db::operator_log::{Change, OperatorAction};

use crate::failure::Failure;
use crate::service;

/// Begins what a command is to change.
pub(super) async fn begin(database: &Database, command: &str) -> Result<Change, Failure> {
    let asked = OperatorAction::Command {
        command: format!("admin {command}"),
        typed_by: format!("{}@{}", user(), service::host()),
    };
    Ok(Change::begin(database, asked).await?)
}

/// Writes down that a command begins whose many changes are transactions of their own.
pub(super) async fn note(
    database: &Database,
    command: &str,
    subject: Option<&str>,
) -> Result<(), Failure> {
    let change = begin(database, command).await?;
    Ok(change.commit(subject, None).await?)
}

/// Whose process this is: a name where this machine has one, otherwise a number.
fn user() -> String {
    let Ok(uid) = fs_err::metadata("/proc/self").map(|of| of.uid().to_string()) else {
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
