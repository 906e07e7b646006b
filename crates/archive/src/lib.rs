//! Directory to `.tar.gz` and back: bytes in, bytes out, synchronous.
//!
//! [`create`] turns a directory into one ordinary gzip member of a POSIX tar, [`restore`] turns it back
//! so that a server is never lost half-way, [`verify`] proves an archive whole. Nothing here knows a
//! database, a network or a clock that would show in the output: same tree, same bytes.

mod blocks;
mod compress;
mod control;
mod create;
mod digest;
mod directory;
mod error;
mod extract_file;
mod gunzip;
mod ignore;
mod index;
mod list;
mod options;
mod pack;
mod pipeline;
mod restore;
mod summary;
mod tar_format;
mod throttle;
mod unpack;
mod verify;
mod walk;

pub use control::{Control, Progress};
pub use create::{create, scan};
pub use error::Error;
pub use extract_file::{FileLocation, PathLookup, SingleFile, find_file, read_file};
pub use ignore::{IgnoreRules, Pteroignore, read_pteroignore};
pub use index::{CheckedIndex, check_index};
pub use list::{EntryKind, ListedEntry, list, list_index};
pub use options::{BeforeSwap, CreateOptions, Expected, RestoreOptions};
pub use restore::{is_staging_name, recover, remove_abandoned_staging, restore, staging_path};
pub use summary::{Note, Notes, Recovered, RestoreSummary, Summary, Totals, VerifySummary};
pub use verify::{verify, verify_stream};
