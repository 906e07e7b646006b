//! The objects of the client API, field by field: what is sent, and what the OpenAPI document says.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use holdfast_domain::job::Phase;

/// A backup, wrapped as every object is.
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
    /// SHA-256 of the archive in hexadecimal digits; null until it has completed.
    pub(crate) sha256_hash: Option<String>,
    /// Size of the archive; 0 until it has completed.
    pub(crate) bytes: u64,
    #[schema(format = DateTime)]
    pub(crate) created_at: String,
    #[schema(format = DateTime)]
    pub(crate) completed_at: Option<String>,
    /// Null while it is created (false in the profile `pterodactyl`).
    pub(crate) is_successful: Option<bool>,
    /// Whether it is kept from deletion.
    pub(crate) is_locked: bool,
    /// `sha256:` and the hash.
    pub(crate) checksum: Option<String>,
    pub(crate) status: Status,
    #[schema(format = DateTime)]
    pub(crate) failed_at: Option<String>,
    /// Why it failed, as a sentence.
    pub(crate) error: Option<String>,
    /// Whether a schedule made it.
    pub(crate) is_scheduled: bool,
    /// What a job is doing with it; null when nothing runs.
    pub(crate) progress: Option<ProgressView>,
    /// Its latest restore.
    pub(crate) restore: Option<RestoreView>,
    /// Its latest verification: the archive read back, and compared with what was stored.
    pub(crate) verification: Option<VerificationView>,
    /// Whether its archive is known to be damaged or missing. A verification that passes takes that away.
    pub(crate) is_damaged: bool,
    /// What could not be archived as it was.
    pub(crate) notes: NotesView,
    /// The disk that holds its archive.
    pub(crate) disk: String,
}

/// Where a backup stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Creating,
    Completed,
    Failed,
}

/// How far a job is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProgressView {
    #[schema(value_type = String, example = "archiving")]
    pub(crate) phase: Phase,
    pub(crate) bytes_done: u64,
    /// 0 while it is not known.
    pub(crate) bytes_total: u64,
    pub(crate) files_done: u64,
    /// 0 while it is not known.
    pub(crate) files_total: u64,
    /// 0.0 to 100.0.
    pub(crate) percent: f64,
}

/// A restore.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RestoreView {
    pub(crate) status: RestoreStatus,
    #[schema(format = DateTime)]
    pub(crate) started_at: Option<String>,
    #[schema(format = DateTime)]
    pub(crate) finished_at: Option<String>,
    /// Why it failed, as a sentence.
    pub(crate) error: Option<String>,
}

/// Where a restore stands.
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
    /// Why it failed, or came to no verdict, as a sentence.
    pub(crate) error: Option<String>,
    /// What is not as it was beside an archive that is whole, as a sentence.
    pub(crate) note: Option<String>,
}

/// Where a verification stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum VerificationStatus {
    Queued,
    Running,
    /// The archive is what was stored.
    Passed,
    /// It is damaged or missing.
    Failed,
    /// Its disk could not be read: nobody knows.
    Inconclusive,
}

/// What could not be archived as it was.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NotesView {
    /// How many there were.
    pub(crate) count: u64,
    /// The first hundred.
    pub(crate) first: Vec<String>,
}

/// A page of backups. Answers are put together in this shape from parts that were written before.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BackupList {
    /// Always `list`.
    #[schema(example = "list")]
    pub(crate) object: &'static str,
    pub(crate) data: Vec<BackupObject>,
    pub(crate) meta: BackupListMeta,
}

/// What is said about a page of backups.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BackupListMeta {
    pub(crate) pagination: Pagination,
    /// Backups that count against the limit: creating and completed ones.
    pub(crate) backup_count: u64,
}

/// An event of a stream, as it is read: each field is a line of its own.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StreamEvent {
    /// What to send as `Last-Event-ID` to go on after it; progress has none.
    pub(crate) id: Option<String>,
    /// What happened.
    pub(crate) event: String,
    /// An object, as JSON text.
    pub(crate) data: String,
}

/// Where a page stands among the others.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Pagination {
    pub(crate) total: u64,
    pub(crate) count: usize,
    pub(crate) per_page: u32,
    pub(crate) current_page: u64,
    pub(crate) total_pages: u64,
    pub(crate) links: Links,
}

/// Absolute URLs of the pages beside a page.
#[derive(Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Links {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) previous: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// A page of what lies in a folder of a backup.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FileList {
    /// Always `list`.
    #[schema(example = "list")]
    pub(crate) object: &'static str,
    pub(crate) data: Vec<FileObject>,
    pub(crate) meta: ListMeta,
}

/// Something that lies in a folder, wrapped as every object is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FileObject {
    /// Always `file_object`.
    #[schema(example = "file_object")]
    pub(crate) object: &'static str,
    pub(crate) attributes: FileAttributes,
}

/// A file, folder or link of a backup.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FileAttributes {
    /// What is no UTF-8 in it is replaced.
    pub(crate) name: String,
    /// Its whole path, from the server's directory on.
    pub(crate) path: String,
    /// The same, byte for byte, as the parameter `path` of a query.
    pub(crate) encoded_path: String,
    /// `file`, `directory`, `symlink`, or `hard_link`: a further name of a file that is in the backup.
    #[schema(example = "file")]
    pub(crate) kind: &'static str,
    #[schema(example = "-rw-r--r--")]
    pub(crate) mode: String,
    #[schema(example = "644")]
    pub(crate) mode_bits: String,
    /// Bytes of a file; 0 for anything else.
    pub(crate) size: u64,
    /// Whether it can be read as a file.
    pub(crate) is_file: bool,
    pub(crate) is_symlink: bool,
    /// Where a link leads to.
    pub(crate) target: Option<String>,
    #[schema(format = DateTime)]
    pub(crate) modified_at: Option<String>,
}

/// A link that needs no other credential, wrapped as every object is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignedUrl {
    /// Always `signed_url`.
    #[schema(example = "signed_url")]
    pub(crate) object: &'static str,
    pub(crate) attributes: SignedUrlAttributes,
}

/// Where an archive can be downloaded.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignedUrlAttributes {
    /// Good for an hour, for GET and HEAD, with ranges.
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

/// What is said about a page.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ListMeta {
    pub(crate) pagination: Pagination,
}

/// A line of the audit log, wrapped.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ActivityObject {
    /// Always `activity_log`.
    #[schema(example = "activity_log")]
    pub(crate) object: &'static str,
    pub(crate) attributes: ActivityAttributes,
}

/// Who did what.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ActivityAttributes {
    pub(crate) id: String,
    #[schema(example = "server:backup.start")]
    pub(crate) event: String,
    /// Whether a key was used.
    pub(crate) is_api: bool,
    /// The caller's network address.
    pub(crate) ip: Option<String>,
    pub(crate) description: Option<String>,
    /// `uuid` and `name` of the backup, and what else there is to say.
    pub(crate) properties: Value,
    pub(crate) has_additional_metadata: bool,
    #[schema(format = DateTime)]
    pub(crate) timestamp: String,
    /// Null where the service itself acted.
    pub(crate) actor: Option<ActivityActor>,
    /// The public part of the key.
    pub(crate) key: Option<String>,
}

/// Who it was.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ActivityActor {
    pub(crate) uuid: Uuid,
    pub(crate) email: Option<String>,
}

/// What every refusal and failure looks like.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Errors {
    pub(crate) errors: Vec<ErrorEntry>,
}

/// One thing that is wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorEntry {
    #[schema(example = "NotFoundHttpException")]
    pub(crate) code: &'static str,
    /// The HTTP status, as a text.
    #[schema(example = "404")]
    pub(crate) status: String,
    /// What a person reads.
    pub(crate) detail: String,
    /// For validation: `source_field` and `rule`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) meta: Option<Map<String, Value>>,
    /// For validation: `field`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<Map<String, Value>>,
}
