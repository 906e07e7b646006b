//! One worker leads. If it ends, dies or is paused, another takes over. The leader prunes rows that
//! are no longer needed.

use rustix::process::Signal;
use serde_json::json;

use super::lines;
use crate::support::app::App;
use crate::support::process::{Process, holdfast};
use crate::support::{eventually, files};

/// The worker that led last: the one that wrote the newest row about retention.
fn leader(app: &App) -> Option<String> {
    let line = lines(app, "retention").into_iter().next()?;
    line["worker"].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn another_worker_leads_when_the_leader_is_paused_or_killed() {
    let app = App::without_worker(&[]).await;
    files::make_server(&app.directory);
    let data = app.disk.parent().unwrap();
    let url = app.sql().url();
    let start = || {
        let settings = [
            ("database.url", url.as_str()),
            ("maintenance.interval_seconds", "1"),
        ];
        let mut command = holdfast(&settings);
        Process::start(command.args(["worker", "--data"]).arg(data), data)
    };
    let mut first = start();
    let paused = eventually("the first leads", async || leader(&app)).await;
    let mut second = start();
    first.signal(Signal::STOP);
    let second_name = eventually("the second leads", async || {
        leader(&app).filter(|name| *name != paused)
    })
    .await;
    // It notices, and stops leading.
    first.signal(Signal::CONT);
    let mut third = start();
    second.signal(Signal::KILL);
    second.ended().await;
    eventually("one of the others leads", async || {
        leader(&app).filter(|name| *name != second_name)
    })
    .await;
    for worker in [&mut first, &mut third] {
        worker.signal(Signal::TERM);
        worker.ended().await;
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_worker_runs_what_is_due_and_records_each_run() {
    let mut app = App::without_worker(&[]).await;
    files::make_server(&app.directory);
    for _ in 0..3 {
        app.add_worker(&[("maintenance.interval_seconds", "604800")]);
    }
    let tasks = ["retention", "pruning", "partials", "staging"];
    for task in tasks {
        let line = eventually(task, async || {
            let lines = lines(&app, task);
            lines
                .into_iter()
                .find(|line| !line["finished_at"].is_null())
        })
        .await;
        assert_eq!(line["error"], json!(null), "{line}");
        assert!(
            line["duration_ms"].is_number() && line["started_at"].is_string(),
            "{line}"
        );
    }
    let others = "SELECT count(*) FROM maintenance_runs WHERE task IN ('retention', 'pruning')";
    assert_eq!(app.sql().number(others).await, 2, "each was done once");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_jobs_are_pruned_unless_a_backup_still_shows_them() {
    let mut app = App::start_with(&[("maintenance.interval_seconds", "604800")]).await;
    files::make_server(&app.directory);
    let uuid = app.backup().await;
    for _ in 0..2 {
        assert_eq!(app.as_owner().restore(&uuid, json!({})).await.status, 202);
        assert_eq!(app.restored(&uuid).await["status"], "completed");
    }
    app.stop_workers().await;
    app.sql()
        .query(
            "UPDATE jobs SET finalized_at = now() - interval '8 days';
             INSERT INTO jobs (kind, server_id, backup_id, node, state, finalized_at)
             SELECT 'delete_backup', server_id, gen_random_uuid(), node, s.state, \
             now() - s.age * interval '1 day'
             FROM jobs, (VALUES ('completed', 6), ('cancelled', 8), ('discarded', 8), \
             ('discarded', 31)) s (state, age)
             WHERE kind = 'create_backup';
             INSERT INTO jobs (kind, server_id, backup_id, node) SELECT 'delete_backup', \
             server_id, backup_id, node
             FROM jobs WHERE kind = 'create_backup';
             UPDATE activity SET created_at = now() - interval '366 days' \
             WHERE event = 'server:backup.start';
             INSERT INTO rate_counts (subject, minute, count) VALUES ('somebody', 1, 1);
             INSERT INTO maintenance_runs (task, worker, started_at, finished_at)
             SELECT 'rescue', 'w', t, t FROM (VALUES (now() - interval '31 days'), \
             (now() - interval '29 days')) v (t);
             DELETE FROM maintenance_runs WHERE task = 'pruning'",
        )
        .await;
    // This node has no worker, so nothing else happens.
    app.add_worker(&[("worker.node", "elsewhere")]);
    let line = eventually("the old is pruned", async || {
        let lines = lines(&app, "pruning");
        lines
            .into_iter()
            .find(|line| !line["finished_at"].is_null())
    })
    .await;
    // The creation, the older restore, the cancelled job, and one of the failed ones.
    let counts = json!({
        "activity": 1, "jobs": 4, "operations": 0, "rates": 1, "runs": 1, "scheduled_runs": 0
    });
    assert_eq!((&line["counts"], &line["error"]), (&counts, &json!(null)));
    let left = app
        .sql()
        .query("SELECT kind || ' ' || state FROM jobs ORDER BY 1")
        .await;
    let left: Vec<String> = left
        .into_iter()
        .map(|row| row[0].clone().unwrap())
        .collect();
    assert_eq!(
        left,
        [
            "delete_backup available",
            "delete_backup completed",
            "delete_backup discarded",
            "restore_backup completed",
        ]
    );
    // The backup still shows its restore.
    let shown = app.as_owner().show(&uuid).await.attributes();
    assert_eq!(shown["restore"]["status"], "completed");
    app.stop().await;
}
