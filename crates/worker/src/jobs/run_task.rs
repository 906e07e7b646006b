//! Runs a task of a schedule by the power driver: a command, or a change of the power state.
//!
//! An attempt that is killed after the driver has acted is repeated: a command may be sent twice,
//! and never not at all.

use std::sync::Arc;

use holdfast_domain::error_chain::chain;
use holdfast_domain::job::RunTaskArgs;

use crate::context::Context;
use crate::lease::ActiveJob;
use crate::outcome::{FailureReason, JobError, JobSuccess};
use crate::power::{Power, PowerError};

/// The failure of a task that needs a server that runs.
pub(crate) const NOT_RUNNING: &str = "The server does not run.";

pub(crate) async fn run(
    context: &Arc<Context>,
    job: &Arc<ActiveJob>,
) -> Result<JobSuccess, JobError> {
    let claim = &job.claim;
    let args: RunTaskArgs = serde_json::from_value(claim.args.clone()).map_err(|error| {
        JobError::permanent("An unexpected error was encountered.", error.to_string())
    })?;
    let power = &context.options.power;
    let done = async {
        match &args {
            RunTaskArgs::RequireOnline => match power {
                // Whether the server runs is unknown, so it counts as online.
                Power::None => Ok(()),
                _ if power.is_running(claim.server).await? => Ok(()),
                _ => Err(PowerError::NotRunning),
            },
            RunTaskArgs::Power(action) => power.change(claim.server, *action).await,
            RunTaskArgs::Command(line) => match power.send_command(claim.server, line).await {
                // A server that does not run has nothing to save, and its backup must not fail for
                // that.
                Err(PowerError::NotRunning) => {
                    let server = claim.server;
                    tracing::info!(%server, "no command sent: the server does not run");
                    Ok(())
                }
                sent => sent,
            },
        }
    };
    job.unless_stopped(async { done.await.map_err(|error| failed(&error)) })
        .await?;
    Ok(JobSuccess::TaskRun)
}

fn failed(error: &PowerError) -> JobError {
    let detail = chain(error);
    let failed = match error {
        PowerError::NotRunning => JobError::permanent(NOT_RUNNING, detail),
        PowerError::Unsupported(why) => JobError::permanent(
            format!("The service is not set up for this task: {why}."),
            detail,
        ),
        PowerError::StillRuns => JobError::retryable("The server could not be stopped.", detail),
        PowerError::NotStarted => JobError::retryable("The server could not be started.", detail),
        PowerError::Start { .. }
        | PowerError::TooSlow { .. }
        | PowerError::Failed { .. }
        | PowerError::Docker { .. }
        | PowerError::Wings { .. }
        | PowerError::Console(_) => JobError::retryable(
            "The task could not be run on the server. The operator of the service has to check \
             its power settings.",
            detail,
        ),
    };
    failed.with_reason(FailureReason::PowerDriver)
}
