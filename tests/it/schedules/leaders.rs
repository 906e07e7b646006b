//! Two workers that lead at the same time begin nothing twice.

use super::scene::{Driver, schedule_of};
use crate::support::app::App;
use crate::support::{eventually, files};

/// How many servers have a schedule.
const SERVERS: i64 = 40;

/// Gives the lock of leaders to everyone, and counts who leads the service.
const EVERYONE_LEADS: &str = "
    CREATE TABLE leaders (pid integer);
    ALTER FUNCTION pg_catalog.pg_try_advisory_lock(bigint) RENAME TO pg_try_advisory_lock_before;
    CREATE FUNCTION pg_catalog.pg_try_advisory_lock(key bigint) RETURNS boolean LANGUAGE sql AS $$
        INSERT INTO public.leaders
        SELECT pg_backend_pid() WHERE key = hashtextextended('holdfast leader', 0);
        SELECT true
    $$;";

#[tokio::test(flavor = "multi_thread")]
async fn two_leaders_begin_each_run_and_each_task_once() {
    let folder = files::scratch();
    let driver = Driver::new(folder.path());
    let mut app = App::without_worker(&[]).await;
    app.sql().query(EVERYONE_LEADS).await;
    for number in 0..SERVERS {
        let server = app.another_server(&format!("server-{number}")).await.id;
        let tasks = [
            &*format!("command one-{number}"),
            &*format!("command two-{number}"),
        ];
        schedule_of(&app, Some(server), "", &tasks).await;
    }
    // All of them become due while both lead.
    let later = "UPDATE schedules SET next_due_at = now() + interval '1 day',
                        next_run_at = now() + interval '1 day'";
    app.sql().query(later).await;
    let mut settings = driver.settings();
    settings.push(("worker.concurrency", "8"));
    app.add_worker(&settings);
    app.add_worker(&settings);
    eventually("both lead", async || {
        (app.sql().number("SELECT count(*) FROM leaders").await == 2).then_some(())
    })
    .await;
    let now = "UPDATE schedules SET next_due_at = now(), next_run_at = now()";
    app.sql().query(now).await;
    let completed = "SELECT count(*) FROM schedule_runs WHERE state = 'completed'";
    eventually("all runs are completed", async || {
        (app.sql().number(completed).await == SERVERS).then_some(())
    })
    .await;
    assert_eq!(
        app.sql().number("SELECT count(*) FROM schedule_runs").await,
        SERVERS
    );
    let jobs = "SELECT count(*) FROM jobs WHERE kind = 'run_task' AND state = 'completed'";
    assert_eq!(app.sql().number(jobs).await, 2 * SERVERS);
    let mut calls = driver.calls();
    calls.sort();
    let mut expected: Vec<String> = (0..SERVERS)
        .flat_map(|number| {
            [
                format!("console one-{number}"),
                format!("console two-{number}"),
            ]
        })
        .collect();
    expected.sort();
    assert_eq!(calls, expected);
    app.stop().await;
}
