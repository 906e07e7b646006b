//! The rules of Holdfast: what a backup, a server, a key and a job are, and
//! what may be done with them.
//!
//! Everything here is pure. It must never read a clock, the environment or a
//! file, talk to a database or the network: time, random bytes and counts are
//! arguments. That is why the rules can be tested as tables.

pub mod access;
pub mod activity;
pub mod backup;
pub mod id;
pub mod ignore;
pub mod job;
pub mod key;
pub mod limit;
pub mod name;
pub mod notice;
pub mod orphan;
pub mod place;
pub mod profile;
pub mod report;
pub mod retention;
pub mod retry;
pub mod server;
pub mod trace;
pub mod verification;

pub use access::{Permission, ServerAccess};
pub use backup::{Backup, BackupState};
pub use id::{BackupId, JobId, ServerId, ServerRef, UserId, UserRef};
pub use job::{JobKind, JobProgress, JobState};
pub use name::{BackupName, DiskName, EmailAddress, NodeName};
pub use notice::{BackupEvent, WebhookId};
pub use place::{DirectoryRules, DirectorySetBy};
pub use profile::Profile;
pub use server::{Server, ServerState};
pub use trace::{RequestId, Trace, TraceParent};
