//! The routes of a panel's node, which Wings answers otherwise. The paths, the bodies and the
//! answers are those of Wings.

mod create;
mod delete;
mod download;
mod recover;
mod restore;
mod server;

use holdfast_domain::{BackupId, ServerId};

use crate::error::{ApiError, NodeRefused};

pub(crate) use create::*;
pub(crate) use delete::*;
pub(crate) use download::*;
pub(crate) use restore::*;

/// The adapter of backups that the node stores. The panel itself stores those of others, and Wings
/// uploads them: they are answered with 404, so that a proxy passes them on.
const ADAPTER: &str = "wings";

fn server_id(text: &str) -> Result<ServerId, ApiError> {
    ServerId::parse(text).ok_or(ApiError::NotFound)
}

fn backup_id(text: &str) -> Result<BackupId, ApiError> {
    BackupId::parse(text).ok_or(ApiError::Node(NodeRefused::BackupUnknown))
}
