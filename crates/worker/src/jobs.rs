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
    // The future of a job is large, and without optimisation each caller has room for it on its
    // stack. On the heap, it is there once.
    match job.claim.kind {
        JobKind::CreateBackup => Box::pin(create_backup::run(context, job)).await,
        JobKind::RestoreBackup => Box::pin(restore_backup::run(context, job)).await,
        JobKind::DeleteBackup => Box::pin(delete_backup::run(context, job)).await,
        JobKind::DeleteServer => Box::pin(delete_server::run(context, job)).await,
        JobKind::VerifyBackup => Box::pin(verify_backup::run(context, job)).await,
        JobKind::RunTask => Box::pin(run_task::run(context, job)).await,
    }
}
