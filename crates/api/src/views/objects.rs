//! The fields of the objects of the client API, for answers and for the OpenAPI document.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use holdfast_domain::job::Phase;

/// A backup.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BackupObject {
    /// Always `backup`.
    #[schema(example = "backup")]
    pub(crate) object: &'static str,
    pub(crate) attributes: BackupAttributes,
}

/// A backup.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BackupAttributes {
    pub(crate) uuid: Uuid,
    pub(crate) name: String,
    /// The patterns that were applied.
    pub(crate) ignored_files: Vec<String>,
    /// SHA-256 of the archive in hexadecimal digits. Null until the backup has completed.
    pub(crate) sha256_hash: Option<String>,
    /// Size of the archive. 0 until the backup has completed.
    pub(crate) bytes: u64,
    #[schema(format = DateTime)]
    pub(crate) created_at: String,
    #[schema(format = DateTime)]
    pub(crate) completed_at: Option<String>,
    /// Null while the backup is being created (false in the profile `pterodactyl`).
    pub(crate) is_successful: Option<bool>,
    /// Whether the backup is protected from deletion.
    pub(crate) is_locked: bool,
    /// `sha256:` and the hash of the archive.
    pub(crate) checksum: Option<String>,
    pub(crate) status: Status,
    #[schema(format = DateTime)]
    pub(crate) failed_at: Option<String>,
    /// Why the backup failed, as a sentence.
    pub(crate) error: Option<String>,
    /// Whether a schedule created the backup.
    pub(crate) is_scheduled: bool,
    /// That schedule. Null if it was deleted.
    pub(crate) schedule: Option<BackupScheduleView>,
    /// Progress of the current job. Null if there is none.
    pub(crate) progress: Option<ProgressView>,
    /// The latest restore of the backup.
    pub(crate) restore: Option<RestoreView>,
    /// The latest verification: the archive is read and compared with what was stored.
    pub(crate) verification: Option<VerificationView>,
    /// Whether the archive is known to be damaged or missing. A verification that passes resets
    /// this.
    pub(crate) is_damaged: bool,
    /// Files that could not be archived completely.
    pub(crate) notes: NotesView,
    /// The disk with the archive.
    pub(crate) disk: String,
    /// The earlier backup whose archive was reused. It may be deleted since. Null if none was.
    pub(crate) reused_from: Option<Uuid>,
    /// Bytes of the archive that come from that one. Null until the backup has completed, and if
    /// it is unknown.
    pub(crate) reused_bytes: Option<u64>,
    /// Bytes of the server's files that were read. Null like `reused_bytes`.
    pub(crate) read_bytes: Option<u64>,
    /// Bytes by which the disk grew. Null like `reused_bytes`, and on disks that do not tell.
    pub(crate) stored_bytes: Option<u64>,
}

/// The schedule that created a backup.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BackupScheduleView {
    #[schema(minimum = 1)]
    pub(crate) id: i64,
    pub(crate) name: String,
}

/// The status of a backup.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Creating,
    Completed,
    Failed,
}

/// The progress of a job.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProgressView {
    #[schema(value_type = String, example = "archiving")]
    pub(crate) phase: Phase,
    pub(crate) bytes_done: u64,
    /// 0 while it is unknown.
    pub(crate) bytes_total: u64,
    pub(crate) files_done: u64,
    /// 0 while it is unknown.
    pub(crate) files_total: u64,
    /// From 0.0 to 100.0.
    pub(crate) percent: f64,
    /// Whether the job runs slower than it could, because its node is under pressure.
    pub(crate) slowed: bool,
}

/// A restore.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RestoreView {
    pub(crate) status: RestoreStatus,
    #[schema(format = DateTime)]
    pub(crate) started_at: Option<String>,
    #[schema(format = DateTime)]
    pub(crate) finished_at: Option<String>,
    /// Why the restore failed, as a sentence.
    pub(crate) error: Option<String>,
    /// Files that were not restored as they are in the archive, and old files that were kept.
    pub(crate) notes: NotesView,
}

/// The status of a restore.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RestoreStatus {
    Queued,
    Running,
    Completed,
    Failed,
}

/// A verification.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VerificationView {
    pub(crate) status: VerificationStatus,
    #[schema(format = DateTime)]
    pub(crate) started_at: Option<String>,
    #[schema(format = DateTime)]
    pub(crate) finished_at: Option<String>,
    /// Why the verification failed or was inconclusive, as a sentence.
    pub(crate) error: Option<String>,
    /// A problem with the files beside an intact archive, as a sentence.
    pub(crate) note: Option<String>,
}

/// The status of a verification.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum VerificationStatus {
    Queued,
    Running,
    /// The archive is intact.
    Passed,
    /// The archive is damaged or missing.
    Failed,
    /// The disk could not be read, so the result is unknown.
    Inconclusive,
}

/// Notes about files that could not be archived or restored unchanged.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NotesView {
    /// The number of notes.
    pub(crate) count: u64,
    /// The first hundred notes.
    pub(crate) first: Vec<String>,
}

/// A page of backups.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BackupList {
    /// Always `list`.
    #[schema(example = "list")]
    pub(crate) object: &'static str,
    pub(crate) data: Vec<BackupObject>,
    pub(crate) meta: BackupListMeta,
}

/// The metadata of a page of backups.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BackupListMeta {
    pub(crate) pagination: Pagination,
    /// Number of backups that count towards the limit: completed ones, and those being created.
    pub(crate) backup_count: u64,
}

/// A server-sent event. Each field is a line.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StreamEvent {
    /// The value for `Last-Event-ID`, to continue after this event. Progress events have none.
    pub(crate) id: Option<String>,
    /// The type of the event.
    pub(crate) event: String,
    /// A JSON object.
    pub(crate) data: String,
}

/// The position of a page in its list.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Pagination {
    pub(crate) total: u64,
    pub(crate) count: usize,
    pub(crate) per_page: u32,
    pub(crate) current_page: u64,
    pub(crate) total_pages: u64,
    pub(crate) links: Links,
}

/// Absolute URLs of the previous and the next page.
#[derive(Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Links {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) previous: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// A page of the entries of a folder in a backup.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FileList {
    /// Always `list`.
    #[schema(example = "list")]
    pub(crate) object: &'static str,
    pub(crate) data: Vec<FileObject>,
    pub(crate) meta: ListMeta,
}

/// An entry of a folder in a backup.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FileObject {
    /// Always `file_object`.
    #[schema(example = "file_object")]
    pub(crate) object: &'static str,
    pub(crate) attributes: FileAttributes,
}

/// A file, folder or link in a backup.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FileAttributes {
    /// The name. Bytes that are not valid UTF-8 are replaced.
    pub(crate) name: String,
    /// The path, relative to the server's directory.
    pub(crate) path: String,
    /// The exact path, percent-encoded for the query parameter `path`.
    pub(crate) encoded_path: String,
    /// `file`, `directory`, `symlink`, or `hard_link` (another name of a file in the backup).
    #[schema(example = "file")]
    pub(crate) kind: &'static str,
    #[schema(example = "-rw-r--r--")]
    pub(crate) mode: String,
    #[schema(example = "644")]
    pub(crate) mode_bits: String,
    /// Size of a file in bytes. 0 for other kinds.
    pub(crate) size: u64,
    /// Whether the entry can be downloaded as a file.
    pub(crate) is_file: bool,
    pub(crate) is_symlink: bool,
    /// The target of a link.
    pub(crate) target: Option<String>,
    #[schema(format = DateTime)]
    pub(crate) modified_at: Option<String>,
}

/// A download link, which needs no key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignedUrl {
    /// Always `signed_url`.
    #[schema(example = "signed_url")]
    pub(crate) object: &'static str,
    pub(crate) attributes: SignedUrlAttributes,
}

/// The URL of a download.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignedUrlAttributes {
    /// Valid for an hour (see `downloads.ttl_seconds`), for GET and HEAD, with ranges.
    pub(crate) url: String,
}

/// A page of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ActivityList {
    /// Always `list`.
    #[schema(example = "list")]
    pub(crate) object: &'static str,
    pub(crate) data: Vec<ActivityObject>,
    pub(crate) meta: ListMeta,
}

/// The metadata of a page.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ListMeta {
    pub(crate) pagination: Pagination,
}

/// An entry of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ActivityObject {
    /// Always `activity_log`.
    #[schema(example = "activity_log")]
    pub(crate) object: &'static str,
    pub(crate) attributes: ActivityAttributes,
}

/// An event, with the user who caused it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ActivityAttributes {
    pub(crate) id: String,
    #[schema(example = "server:backup.start")]
    pub(crate) event: String,
    /// Whether a key was used.
    pub(crate) is_api: bool,
    /// The IP address of the client.
    pub(crate) ip: Option<String>,
    pub(crate) description: Option<String>,
    /// `uuid` and `name` of the backup, or `schedule` (the ID) and `name` of the schedule, and
    /// details of the event.
    pub(crate) properties: Value,
    pub(crate) has_additional_metadata: bool,
    #[schema(format = DateTime)]
    pub(crate) timestamp: String,
    /// Null if the service itself caused the event.
    pub(crate) actor: Option<ActivityActor>,
    /// The identifier of the key.
    pub(crate) key: Option<String>,
}

/// A user who caused an event.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ActivityActor {
    /// Null for a caller whose access the panel decides.
    pub(crate) uuid: Option<Uuid>,
    /// `panel` for such a caller.
    pub(crate) email: Option<String>,
}

/// The body of every error answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Errors {
    pub(crate) errors: Vec<ErrorEntry>,
}

/// An error.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorEntry {
    #[schema(example = "NotFoundHttpException")]
    pub(crate) code: &'static str,
    /// The HTTP status, as a string.
    #[schema(example = "404")]
    pub(crate) status: String,
    /// The text for the user.
    pub(crate) detail: String,
    /// Only for validation errors: `source_field` and `rule`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) meta: Option<Map<String, Value>>,
    /// Only for validation errors: `field`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<Map<String, Value>>,
}
