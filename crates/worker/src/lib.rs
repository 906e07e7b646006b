//! Runs jobs: claims them, does the work, settles them. The only crate that does.
//!
//! The way of a job: [`run`] claims it (`runner`), `lease` keeps it, `jobs/…` does the
//! work with the archive engine on a blocking thread, `pipe` carries its bytes to a
//! disk, `settle` writes how it ended.
//!
//! This crate must never hold a transaction while it works, and never write
//! anything about a job without naming the claim that it works under.

mod context;
mod disk_access;
mod fetch;
mod jobs;
mod lease;
mod maintenance;
mod measure;
mod metrics;
mod outage;
mod outcome;
mod pipe;
pub mod power;
mod registration;
mod retention;
mod runner;
mod server_directory;
mod settle;
mod sweep;
mod verification;
mod verify_archive;
pub mod webhooks;

pub use context::{Context, MaintenanceOptions, WorkerOptions};
pub use measure::measure;
pub use metrics::WorkerMetrics;
pub use outage::Outage;
pub use retention::{RetentionDecision, RetentionRun, run as retain};
pub use runner::run;
pub use sweep::{FindingKind, Sweep, SweepError, SweepFinding, SweepReport};
pub use verification::{VerifiedBackup, record_verdict};
pub use verify_archive::{ArchiveCheck, ArchiveVerdict, VerifyError};
