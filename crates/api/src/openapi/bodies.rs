//! The request bodies of the client API.
#![expect(
    dead_code,
    reason = "only the shapes are used: handlers read bodies field by field"
)]

use utoipa::ToSchema;

/// The body of a request that creates a backup. All fields are optional.
#[derive(ToSchema)]
pub(crate) struct CreateBody {
    /// At most 191 characters. Default: made from the current time.
    #[schema(max_length = 191, example = "Before the update")]
    name: Option<String>,
    /// Patterns with the syntax of `.gitignore`, one per line. Can also be an array of strings.
    #[schema(example = "*.log\ncache/*")]
    ignored: Option<String>,
    /// Whether the backup is locked. Needs the permission `backup.delete`.
    is_locked: Option<bool>,
    /// Whether every file is read and packed, whatever an earlier backup contains. Default: false.
    full: Option<bool>,
}

/// The body of a request that restores a backup, or some files and folders of it.
#[derive(ToSchema)]
pub(crate) struct RestoreBody {
    /// Whether files that are not in the backup are removed; with `paths`, only those in the
    /// requested folders. Default: true.
    truncate: Option<bool>,
    /// The files and folders to restore, relative to the server's directory. Nothing else is
    /// replaced. At most 16 KiB in all. Default: everything.
    #[schema(
        min_items = 1,
        max_items = 100,
        example = json!(["world/region", "server.properties"]),
    )]
    paths: Option<Vec<String>>,
}

/// The body of a request that locks a backup.
#[derive(ToSchema)]
pub(crate) struct LockBody {
    /// Sets the lock instead of toggling it.
    is_locked: Option<bool>,
}

/// The body of a request that renames a backup.
#[derive(ToSchema)]
pub(crate) struct RenameBody {
    /// At most 191 characters, not blank.
    #[schema(min_length = 1, max_length = 191)]
    name: String,
}
