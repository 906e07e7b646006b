//! Archives a directory as `.tar.gz`, and restores it. Synchronous, without database or network.
//!
//! - [`create()`] writes a directory as a POSIX tar in one gzip member, and an index beside it. The
//!   same tree always gives the same bytes.
//! - [`restore()`] replaces a directory with the contents of an archive. If it fails, the directory
//!   stays as it was.
//! - [`verify()`] reads an archive completely and checks it.
//! - [`list()`] and [`read_file`] use the index to read only a part of an archive.

mod acl;
mod blocks;
mod compress;
mod control;
mod create;
mod directory;
mod entry_check;
mod error;
mod extract_file;
mod file_system;
mod filler;
mod gunzip;
mod ignore;
mod index;
mod lease;
mod list;
mod options;
mod output;
mod pace;
mod pack;
mod pack_plan;
mod pipeline;
mod plan;
mod previous;
mod read_at;
mod restore;
mod resumable_hash;
mod reuse;
mod scan;
mod selected_blocks;
mod selection;
mod summary;
mod tar_format;
mod threads;
mod throttle;
mod tree_cursor;
mod unpack;
mod verify;
mod walk;

pub use control::{Control, Progress};
pub use create::{create, create_from};
pub use error::Error;
pub use extract_file::{FileLocation, PathLookup, SingleFile, find_file, read_file};
pub use ignore::{
    IgnoreRules, MAX_PATTERN_BYTES, MAX_PATTERNS, MAX_WILDCARDS, Pteroignore, read_pteroignore,
};
pub use index::{CheckedIndex, check_index};
pub use list::{ListedEntry, list, list_index};
pub use options::{
    BeforeSwap, CreateOptions, Expected, RestoreOptions, SwapMethod, UnknownSwapMethod,
};
pub use output::{ArchiveOutput, FileOutput, PlainOutput};
pub use previous::Previous;
pub use read_at::ReadAt;
pub use restore::{is_staging_name, recover, remove_abandoned_staging, restore, staging_paths};
pub use scan::{Scan, scan, scan_after};
pub use selection::first_missing_path;
pub use summary::{Note, Notes, Recovered, RestoreSummary, Summary, Totals, VerifySummary};
pub use tar_format::EntryKind;
pub use verify::{verify, verify_stream};
