//! The queries about the schedules of all servers never read a whole table.

use holdfast_db::schedules::{self, apply_default};
use holdfast_domain::schedule::{
    Cron, CronFields, DefaultSchedule, MissedPolicy, ScheduleId, Timezone, Timing,
};

use super::walks_an_index;
use crate::support::database::TestDatabase;

/// 5,000 servers with two schedules each, and three runs of each schedule.
const SEED: &str = "
    INSERT INTO users (id, email, is_admin) VALUES (gen_random_uuid(), 'u@example.com', false);
    INSERT INTO servers (id, owner_id, name, directory, node)
    SELECT gen_random_uuid(), id, 'S', '/srv/' || n, 'local' FROM users, generate_series(1, 5000) n
    WHERE email LIKE '%@example.com';
    INSERT INTO schedules (server_id, name, minute, hour, day_of_month, month, day_of_week)
    SELECT id, 'Nightly', '0', '4', '*', '*', '*' FROM servers, generate_series(1, 2);
    INSERT INTO schedule_tasks (schedule_id, sequence, action)
    SELECT id, 1, 'backup' FROM schedules;
    INSERT INTO schedule_runs (schedule_id, server_id, due_at, state, finished_at)
    SELECT id, server_id, now() - n * interval '1 day', 'completed', now()
    FROM schedules, generate_series(1, 3) n";

#[tokio::test(flavor = "multi_thread")]
async fn no_query_about_the_schedules_of_all_servers_reads_a_whole_table() {
    let raw = TestDatabase::create().await;
    raw.query(SEED).await;
    raw.query("VACUUM ANALYZE").await;
    let last = ScheduleId(raw.number("SELECT max(id) FROM schedules").await);
    walks_an_index(&raw, "a page of schedules", async |database| {
        for after in [0, last.0 - 100] {
            let found = schedules::page(database, None, ScheduleId(after), 50).await;
            let found = found.unwrap();
            assert_eq!(found.len(), 50);
            assert!(found.iter().all(|one| one.last_result.is_some()));
        }
    })
    .await;
    walks_an_index(&raw, "a page of one server's", async |database| {
        let server = schedules::server_of(database, last).await.unwrap();
        let found = schedules::page(database, server, ScheduleId(0), 50).await;
        assert_eq!(found.unwrap().len(), 2);
    })
    .await;
    walks_an_index(&raw, "a check that changes nothing", async |database| {
        assert_eq!(apply_default(database, None, 10, 200).await.unwrap(), 0);
    })
    .await;
    let default = DefaultSchedule {
        timing: Timing {
            cron: Cron::parse(CronFields::split("0 4 * * *").unwrap()).unwrap(),
            timezone: Timezone::UTC,
            jitter_seconds: 3600,
            missed: MissedPolicy::RunOnce,
        },
        keep: None,
        ignored: holdfast_domain::ignore::IgnorePatterns::default(),
    };
    walks_an_index(&raw, "a batch of the default schedule", async |database| {
        let changed = apply_default(database, Some(&default), 10, 50).await;
        assert_eq!(changed.unwrap(), 50);
    })
    .await;
    raw.drop().await;
}
