//! One file a kind of job.

mod create_backup;
mod delete_backup;
mod delete_server;
mod restore_backup;
mod verify_backup;

use std::sync::Arc;

use holdfast_domain::JobKind;

use crate::context::Context;
use crate::lease::Work;
use crate::outcome::{Done, NotDone};

/// Does a job. It returns when everything it started has ended.
pub(crate) async fn run(context: &Arc<Context>, work: &Arc<Work>) -> Result<Done, NotDone> {
    match work.claim.kind {
        JobKind::CreateBackup => create_backup::run(context, work).await,
        JobKind::RestoreBackup => restore_backup::run(context, work).await,
        JobKind::DeleteBackup => delete_backup::run(context, work).await,
        JobKind::DeleteServer => delete_server::run(context, work).await,
        JobKind::VerifyBackup => verify_backup::run(context, work).await,
    }
}
