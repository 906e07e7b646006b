//! Runs jobs: claims them, does the work, records the result. The only crate that does.
//!
//! [`run`] claims a job (`runner`). `lease` renews the claim. `jobs/…` does the work, with the
//! archive engine on a blocking thread. `pipe` passes the archive's bytes to a disk. `finalize`
//! records how the attempt ended.
//!
//! This crate must never hold a transaction while a job runs. Every write about a job must name the
//! claim under which the job runs.

mod background;
mod backup_mode;
mod context;
mod database_health;
mod disk_access;
mod fetch;
mod finalize;
mod http_client;
mod jobs;
mod lease;
mod maintenance;
mod measure;
mod metrics;
mod outcome;
mod panel;
mod pipe;
pub mod power;
mod priority;
mod registration;
mod retention;
mod runner;
mod schedules;
mod server_directory;
mod session_weight;
mod shared_directory;
mod sweep;
mod verification;
mod verify_archive;
pub mod webhooks;

pub use context::{Context, DirectoryChecks, MaintenanceOptions, WingsOptions, WorkerOptions};
pub use database_health::DatabaseHealth;
pub use holdfast_archive::SwapMethod;
pub use holdfast_ioctl::IoClass;
pub use measure::SourceCounter;
pub use metrics::WorkerMetrics;
pub use priority::Priority;
pub use retention::{RetentionDecision, RetentionRun, run as apply_retention};
pub use runner::run;
pub use session_weight::SessionWeight;
pub use sweep::{FindingKind, Sweep, SweepError, SweepFinding, SweepReport};
pub use verification::{VerifiedBackup, record_verdict};
pub use verify_archive::{ArchiveCheck, ArchiveVerdict, VerifyError};
