//! The row of a request lookup, and its conversion to [`RequestContext`].

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use holdfast_domain::{Backup, Server, UserId};

use super::RequestContext;
use crate::backups::BackupRow;
use crate::error::Error;
use crate::keys::{KeyOfUser, KeyRow};
use crate::servers::ServerRow;

pub(super) struct RequestRow {
    pub(super) position: i64,
    pub(super) identifier: String,
    pub(super) user_id: Uuid,
    pub(super) kind: String,
    pub(super) profile: String,
    pub(super) secret_hash: Vec<u8>,
    pub(super) description: String,
    pub(super) allowed_ips: Vec<String>,
    pub(super) expires_at: Option<DateTime<Utc>>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) is_admin: bool,
    pub(super) email: String,
    pub(super) server_id: Option<Uuid>,
    pub(super) server_owner_id: Option<Uuid>,
    pub(super) server_name: Option<String>,
    pub(super) server_directory: Option<String>,
    pub(super) server_node: Option<String>,
    pub(super) server_disk: Option<String>,
    pub(super) server_state: Option<String>,
    pub(super) server_backup_limit: Option<i32>,
    pub(super) server_max_backup_bytes: Option<i64>,
    pub(super) server_quota_bytes: Option<i64>,
    pub(super) server_retention_days: Option<i32>,
    pub(super) server_keep: Option<String>,
    pub(super) server_rotate: Option<bool>,
    pub(super) server_no_default_schedule: Option<bool>,
    pub(super) server_created_at: Option<DateTime<Utc>>,
    pub(super) server_directory_set_by: Option<String>,
    pub(super) server_managed_by: Option<String>,
    pub(super) server_absent_since: Option<DateTime<Utc>>,
    pub(super) permissions: Option<Vec<String>>,
    pub(super) backup_id: Option<Uuid>,
    pub(super) backup_name: Option<String>,
    pub(super) backup_ignored_files: Option<Vec<String>>,
    pub(super) backup_disk: Option<String>,
    pub(super) backup_node: Option<String>,
    pub(super) backup_state: Option<String>,
    pub(super) backup_is_locked: Option<bool>,
    pub(super) backup_is_scheduled: Option<bool>,
    pub(super) backup_is_full: Option<bool>,
    pub(super) backup_schedule_id: Option<i64>,
    pub(super) backup_schedule_name: Option<String>,
    pub(super) backup_size_bytes: Option<i64>,
    pub(super) backup_sha256: Option<Vec<u8>>,
    pub(super) backup_archive_attempt: Option<i32>,
    pub(super) backup_notes_count: Option<i64>,
    pub(super) backup_notes: Option<Vec<String>>,
    pub(super) backup_error: Option<String>,
    pub(super) reused_from: Option<Uuid>,
    pub(super) reused_bytes: Option<i64>,
    pub(super) read_bytes: Option<i64>,
    pub(super) stored_bytes: Option<i64>,
    pub(super) unread_backups: Option<i32>,
    pub(super) backup_created_at: Option<DateTime<Utc>>,
    pub(super) backup_completed_at: Option<DateTime<Utc>>,
    pub(super) backup_failed_at: Option<DateTime<Utc>>,
    pub(super) verification: Option<String>,
    pub(super) verification_started_at: Option<DateTime<Utc>>,
    pub(super) verification_finished_at: Option<DateTime<Utc>>,
    pub(super) verification_sentence: Option<String>,
    pub(super) damaged_at: Option<DateTime<Utc>>,
    pub(super) unfinished_state: Option<String>,
    pub(super) unfinished_progress: Option<Value>,
    pub(super) verify_state: Option<String>,
    pub(super) verify_started_at: Option<DateTime<Utc>>,
    pub(super) restore_state: Option<String>,
    pub(super) restore_started_at: Option<DateTime<Utc>>,
    pub(super) restore_finalized_at: Option<DateTime<Utc>>,
    pub(super) restore_error: Option<String>,
    pub(super) restore_notes_count: Option<i64>,
    pub(super) restore_notes: Option<Vec<String>>,
    pub(super) list_versions: Vec<Uuid>,
}

impl TryFrom<RequestRow> for RequestContext {
    type Error = Error;

    fn try_from(mut row: RequestRow) -> Result<Self, Error> {
        let server = row.take_server();
        let backup = row.take_backup();
        let key = KeyOfUser::try_from(KeyRow {
            identifier: row.identifier,
            user_id: row.user_id,
            kind: row.kind,
            profile: row.profile,
            secret_hash: row.secret_hash,
            description: row.description,
            allowed_ips: row.allowed_ips,
            expires_at: row.expires_at,
            created_at: row.created_at,
            is_admin: row.is_admin,
            email: row.email,
        })?;
        let server = server.map(Server::try_from).transpose()?;
        let server = server.and_then(|server| {
            let access = key.access(
                server.owner.unwrap_or(UserId::NONE),
                row.permissions.as_deref(),
            )?;
            Some((server, access))
        });
        let backup = match (&server, backup) {
            (Some(_), Some(backup)) => Some(Backup::try_from(backup)?),
            _ => None,
        };
        Ok(Self {
            key,
            server,
            backup,
            list_versions: row.list_versions.into(),
        })
    }
}

impl RequestRow {
    fn take_server(&mut self) -> Option<ServerRow> {
        Some(ServerRow {
            id: self.server_id?,
            owner_id: self.server_owner_id?,
            name: self.server_name.take()?,
            directory: self.server_directory.take()?,
            node: self.server_node.take()?,
            disk: self.server_disk.take(),
            state: self.server_state.take()?,
            backup_limit: self.server_backup_limit,
            max_backup_bytes: self.server_max_backup_bytes,
            quota_bytes: self.server_quota_bytes,
            retention_days: self.server_retention_days,
            keep: self.server_keep.take(),
            rotate: self.server_rotate?,
            no_default_schedule: self.server_no_default_schedule?,
            created_at: self.server_created_at?,
            directory_set_by: self.server_directory_set_by.take()?,
            managed_by: self.server_managed_by.take(),
            absent_since: self.server_absent_since,
        })
    }

    fn take_backup(&mut self) -> Option<BackupRow> {
        Some(BackupRow {
            position: self.position,
            id: self.backup_id?,
            server_id: self.server_id?,
            name: self.backup_name.take()?,
            ignored_files: self.backup_ignored_files.take()?,
            disk: self.backup_disk.take()?,
            node: self.backup_node.take(),
            state: self.backup_state.take()?,
            is_locked: self.backup_is_locked?,
            is_scheduled: self.backup_is_scheduled?,
            is_full: self.backup_is_full?,
            schedule_id: self.backup_schedule_id,
            schedule_name: self.backup_schedule_name.take(),
            size_bytes: self.backup_size_bytes?,
            sha256: self.backup_sha256.take(),
            archive_attempt: self.backup_archive_attempt,
            notes_count: self.backup_notes_count?,
            notes: self.backup_notes.take()?,
            error: self.backup_error.take(),
            reused_from: self.reused_from,
            reused_bytes: self.reused_bytes,
            read_bytes: self.read_bytes,
            stored_bytes: self.stored_bytes,
            unread_backups: self.unread_backups,
            created_at: self.backup_created_at?,
            completed_at: self.backup_completed_at,
            failed_at: self.backup_failed_at,
            verification: self.verification.take(),
            verification_started_at: self.verification_started_at,
            verification_finished_at: self.verification_finished_at,
            verification_sentence: self.verification_sentence.take(),
            damaged_at: self.damaged_at,
            unfinished_state: self.unfinished_state.take(),
            unfinished_progress: self.unfinished_progress.take(),
            verify_state: self.verify_state.take(),
            verify_started_at: self.verify_started_at,
            restore_state: self.restore_state.take(),
            restore_started_at: self.restore_started_at,
            restore_finalized_at: self.restore_finalized_at,
            restore_error: self.restore_error.take(),
            restore_notes_count: self.restore_notes_count,
            restore_notes: self.restore_notes.take(),
        })
    }
}
