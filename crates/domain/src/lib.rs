//! The domain model of Holdfast: backups, servers, API keys and jobs, and the rules for them.
//!
//! Every function is pure, so that the rules can be tested as tables. No code here may read a
//! clock, the environment or files, or access a database or the network. Time, random bytes and
//! counts are arguments.

pub mod access;
pub mod activity;
pub mod backup;
pub mod error_chain;
pub mod estimate;
pub mod event;
pub mod id;
pub mod ignore;
pub mod job;
pub mod key;
pub mod limit;
pub mod name;
pub mod network;
pub mod orphan;
pub mod panel;
pub mod profile;
pub mod restore_paths;
pub mod retention;
pub mod retry;
pub mod schedule;
pub mod server;
pub mod server_directory;
pub mod trace;
pub mod verification;
pub mod wings;

pub use access::{Permission, ServerAccess};
pub use backup::{Backup, BackupState};
pub use event::{ServerEvent, WebhookId};
pub use id::{BackupId, JobId, ServerId, ServerRef, UserId, UserRef};
pub use job::{JobKind, JobProgress, JobState};
pub use name::{BackupName, DiskName, EmailAddress, NodeName};
pub use profile::Profile;
pub use restore_paths::RestorePaths;
pub use server::{Server, ServerState};
pub use server_directory::{DirectoryRules, DirectorySetBy};
pub use trace::{RequestId, TraceContext, TraceParent};
