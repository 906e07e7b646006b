//! One run of one task: whether it is due, and the line that it leaves.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use holdfast_db::maintenance;
use holdfast_domain::error_chain::chain;

use crate::context::Context;
use crate::sweep::SweepReport;

/// How a run ended.
#[derive(Debug, Default)]
pub(super) struct Ran {
    /// What was found and done, by name.
    pub(super) counts: BTreeMap<&'static str, u64>,
    /// Why it could not be done, or not in full.
    pub(super) error: Option<String>,
}

impl From<SweepReport> for Ran {
    fn from(swept: SweepReport) -> Self {
        Self {
            counts: swept.counts,
            error: swept.not_swept.map(|why| why.text()),
        }
    }
}

/// Runs a task if none of its runs has begun within `every`, and writes down what came of it.
pub(super) async fn run_if_due(
    context: &Context,
    task: &'static str,
    subject: &str,
    every: Duration,
    work: impl Future<Output = Ran>,
) {
    let database = &context.database;
    match maintenance::is_due(database, task, subject, every).await {
        Ok(true) => {}
        Ok(false) => return,
        Err(error) => {
            tracing::warn!(
                task,
                error = chain(&error),
                "what is due could not be found out"
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
                "a task could not be begun"
            );
            return;
        }
    };
    let ran = work.await;
    let counts = json!(ran.counts);
    match &ran.error {
        Some(error) => tracing::warn!(task, subject, %counts, error, "a task was not done"),
        None => tracing::debug!(task, subject, %counts, "a task is done"),
    }
    let ended = maintenance::end(database, run, &counts, ran.error.as_deref());
    if let Err(error) = ended.await {
        tracing::warn!(
            task,
            subject,
            error = chain(&error),
            "the end of a task could not be written down"
        );
    }
}
