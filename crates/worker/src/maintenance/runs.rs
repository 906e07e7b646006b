//! Runs a task if it is due, and records the run.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use holdfast_db::maintenance;
use holdfast_domain::error_chain::chain;

use crate::context::Context;
use crate::sweep::SweepReport;

/// The result of a run.
#[derive(Debug, Default)]
pub(super) struct RunResult {
    /// Counters by name, such as `removed`.
    pub(super) counts: BTreeMap<&'static str, u64>,
    /// Why the run failed or ended early.
    pub(super) error: Option<String>,
}

impl From<SweepReport> for RunResult {
    fn from(report: SweepReport) -> Self {
        Self {
            counts: report.counts,
            error: report.error.map(|error| error.text()),
        }
    }
}

/// Runs a task unless one of its runs has started within `every`. Records the result.
pub(super) async fn run_if_due(
    context: &Context,
    task: &'static str,
    subject: &str,
    every: Duration,
    work: impl Future<Output = RunResult>,
) {
    let database = &context.database;
    match maintenance::is_due(database, task, subject, every).await {
        Ok(true) => {}
        Ok(false) => return,
        Err(error) => {
            tracing::warn!(
                task,
                error = chain(&error),
                "the last run of a task could not be read"
            );
            return;
        }
    }
    let worker = &context.worker;
    let run = match maintenance::begin(database, task, subject, worker).await {
        Ok(run) => run,
        Err(error) => {
            tracing::warn!(
                task,
                subject,
                error = chain(&error),
                "the start of a task could not be recorded"
            );
            return;
        }
    };
    let result = work.await;
    let counts = json!(result.counts);
    match &result.error {
        Some(error) => tracing::warn!(task, subject, %counts, error, "a task failed"),
        None => tracing::debug!(task, subject, %counts, "a task ended"),
    }
    let ended = maintenance::end(database, run, &counts, result.error.as_deref());
    if let Err(error) = ended.await {
        tracing::warn!(
            task,
            subject,
            error = chain(&error),
            "the end of a task could not be recorded"
        );
    }
}
