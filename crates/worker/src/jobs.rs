//! The jobs, one file for each kind.

mod create_backup;
mod delete_backup;
mod delete_server;
mod restore_backup;
pub(crate) mod run_task;
mod verify_backup;

use std::sync::Arc;

use holdfast_domain::JobKind;

use crate::context::Context;
use crate::lease::ActiveJob;
use crate::outcome::{JobError, JobSuccess};

/// Runs a job. Returns once everything that the job started has ended.
pub(crate) async fn run(
    context: &Arc<Context>,
    job: &Arc<ActiveJob>,
) -> Result<JobSuccess, JobError> {
    match job.claim.kind {
        JobKind::CreateBackup => create_backup::run(context, job).await,
        JobKind::RestoreBackup => restore_backup::run(context, job).await,
        JobKind::DeleteBackup => delete_backup::run(context, job).await,
        JobKind::DeleteServer => delete_server::run(context, job).await,
        JobKind::VerifyBackup => verify_backup::run(context, job).await,
        JobKind::RunTask => run_task::run(context, job).await,
    }
}
