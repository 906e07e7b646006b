//! Maintenance: retention, rotation, sweeps, and limits on parallel jobs.

mod leaders;
mod limits;
mod retention;
mod rotation;
mod sweep;

use serde_json::Value;

use crate::support::app::{App, Setting};
use crate::support::process::{Ended, holdfast, run};

/// Runs `holdfast admin --json …` beside a service, with some settings changed for the command
/// only.
pub(crate) fn admin(app: &App, settings: &[Setting<'_>], arguments: &[&str]) -> Ended {
    let url = app.sql().url();
    let mut settings = settings.to_vec();
    settings.push(("database.url", &url));
    let mut command = holdfast(&settings);
    command.env("HOLDFAST_DATA", app.disk.parent().unwrap());
    run(command.args(["admin", "--json"]).args(arguments))
}

/// The rows of maintenance runs of a task, newest first.
fn lines(app: &App, task: &str) -> Vec<Value> {
    let all = admin(app, &[], &["maintenance", "list"]).json();
    let of_task = |line: &&Value| line["task"] == task;
    let all = all.as_array().unwrap();
    all.iter().filter(of_task).cloned().collect()
}

/// Makes a backup look older.
async fn age(app: &App, uuid: &str, days: u32) {
    let statement = format!(
        "UPDATE backups SET created_at = created_at - interval '{days} days' WHERE id = '{uuid}'"
    );
    app.sql().query(&statement).await;
}
