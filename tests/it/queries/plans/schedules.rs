//! The queries about schedules never read a whole table.

use uuid::Uuid;

use holdfast_db::backups::{BackupPages, PageRequest};
use holdfast_db::schedules::{self, ManualRun};
use holdfast_db::{Database, backups, metrics, retention};
use holdfast_domain::schedule::{
    Cron, CronFields, MissedPolicy, Schedule, ScheduleId, ScheduleName, ScheduleSettings, Timezone,
    Timing,
};
use holdfast_domain::{BackupId, ServerId};

use super::walks_an_index;
use crate::support::database::TestDatabase;

/// 5,000 servers with a schedule of two tasks each, one server with 250 schedules of ten tasks, and
/// ten runs and five backups of each schedule. Every tenth schedule has an unfinished run.
const SEED: &str = "
    INSERT INTO users (id, email, is_admin) VALUES (gen_random_uuid(), 'u@example.com', false);
    INSERT INTO servers (id, owner_id, name, directory, node)
    SELECT gen_random_uuid(), id, 'S', '/srv/' || n, 'local' FROM users, generate_series(1, 5000) n
    WHERE email LIKE '%@example.com';
    INSERT INTO schedules (server_id, name, minute, hour, day_of_month, month, day_of_week,
                           next_due_at, next_run_at, last_success_at)
    SELECT s.id, 'Nightly', '0', '4', '*', '*', '*', now() + interval '1 day',
           now() + interval '1 day', now()
    FROM (SELECT id, row_number() OVER (ORDER BY id) AS number FROM servers) s,
         LATERAL generate_series(1, CASE number WHEN 1 THEN 250 ELSE 1 END) n;
    INSERT INTO schedule_tasks (schedule_id, sequence, action)
    SELECT s.id, n, 'backup' FROM schedules s, LATERAL generate_series(1,
        CASE WHEN s.server_id = (SELECT id FROM servers ORDER BY id LIMIT 1) THEN 10 ELSE 2 END) n;
    INSERT INTO schedule_runs (schedule_id, server_id, due_at, state, finished_at)
    SELECT s.id, s.server_id, now() - n * interval '1 day', 'completed', now()
    FROM schedules s, generate_series(1, 10) n;
    INSERT INTO schedule_runs (schedule_id, server_id, due_at, state, task, tasks)
    SELECT id, server_id, now(), 'waiting', 0, '[]' FROM schedules WHERE id % 10 = 0;
    INSERT INTO backups (id, server_id, name, disk, state, completed_at, sha256, size_bytes,
                         archive_attempt, created_at, schedule_id, is_scheduled)
    SELECT gen_random_uuid(), s.server_id, 'b', 'local', 'completed', now(),
           decode(repeat('00', 32), 'hex'), 1, 1, now() - n * interval '1 day', s.id, true
    FROM schedules s, generate_series(1, 5) n;
    INSERT INTO jobs (kind, server_id, backup_id, node, state, finalized_at, started_at, attempt)
    SELECT 'create_backup', server_id, id, 'local', 'completed', now(), now(), 1 FROM backups";

fn settings() -> ScheduleSettings {
    ScheduleSettings {
        name: ScheduleName::parse("Weekly").unwrap().unwrap(),
        timing: Timing {
            cron: Cron::parse(CronFields::split("0 4 * * 0").unwrap()).unwrap(),
            timezone: Timezone::UTC,
            jitter_seconds: 0,
            missed: MissedPolicy::RunOnce,
        },
        keep: None,
        is_active: true,
        only_when_online: false,
    }
}

async fn find(database: &Database, server: ServerId, schedule: ScheduleId) -> Schedule {
    let found = schedules::find(database, server, schedule).await.unwrap();
    found.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_about_schedules_reads_a_whole_table() {
    let raw = TestDatabase::create().await;
    raw.query(SEED).await;
    raw.query("VACUUM ANALYZE").await;
    let large = "SELECT server_id::text FROM schedules GROUP BY 1 ORDER BY count(*) DESC LIMIT 1";
    let large = raw.query(large).await[0][0].clone().unwrap();
    let large = ServerId(Uuid::parse_str(&large).unwrap());
    let least = format!(
        "SELECT min(id) FROM schedules WHERE server_id = '{}'",
        large.0
    );
    let schedule = ScheduleId(raw.number(&least).await);

    walks_an_index(&raw, "the list of schedules", async |database| {
        let all = schedules::list(database, large).await.unwrap();
        assert_eq!((all.len(), all[0].tasks.len()), (250, 10));
        assert!(all.iter().any(|schedule| schedule.is_processing));
    })
    .await;
    walks_an_index(&raw, "the view of a schedule", async |database| {
        assert!(find(database, large, schedule).await.last_result.is_some());
        let runs = schedules::runs_of(database, schedule, 10).await.unwrap();
        assert_eq!(runs.len(), 10);
    })
    .await;
    walks_an_index(&raw, "the use of schedules", async |database| {
        let mut transaction = database.begin().await.unwrap();
        let usage = schedules::usage(&mut transaction, large).await.unwrap();
        assert_eq!((usage.schedules, usage.payload_bytes), (250, 0));
    })
    .await;
    // These are undone.
    walks_an_index(&raw, "a change of a schedule", async |database| {
        let mut transaction = database.begin().await.unwrap();
        let settings = settings();
        let changed = schedules::update(&mut transaction, large, schedule, &settings).await;
        assert!(changed.unwrap());
        schedules::abandon(&mut transaction, large, schedule)
            .await
            .unwrap();
        let new = schedules::insert(&mut transaction, large, &settings, None).await;
        let new = schedules::find_in(&mut transaction, large, new.unwrap()).await;
        assert!(new.unwrap().is_some());
    })
    .await;
    walks_an_index(&raw, "a change of a task", async |database| {
        let found = find(database, large, schedule).await;
        let task = &found.tasks[4];
        let mut transaction = database.begin().await.unwrap();
        let added = schedules::insert_task(&mut transaction, schedule, 2, &task.task).await;
        added.unwrap();
        let moved =
            schedules::update_task(&mut transaction, schedule, task.id, 1, &task.task).await;
        assert!(moved.unwrap());
        let gone = schedules::delete_task(&mut transaction, schedule, task.id).await;
        assert!(gone.unwrap());
    })
    .await;
    walks_an_index(&raw, "a run by hand", async |database| {
        let found = find(database, large, schedule).await;
        let mut transaction = database.begin().await.unwrap();
        let begun = schedules::run_now(&mut transaction, &found).await.unwrap();
        assert_ne!(begun, ManualRun::NoTasks);
    })
    .await;
    walks_an_index(&raw, "the deletion of a schedule", async |database| {
        let mut transaction = database.begin().await.unwrap();
        let gone = schedules::delete(&mut transaction, large, schedule).await;
        assert!(gone.unwrap());
    })
    .await;
    walks_an_index(&raw, "the work of the leader", async |database| {
        assert_eq!(schedules::list_due(database, 200).await.unwrap().len(), 0);
        assert_eq!(schedules::list_ready(database, 200).await.unwrap().len(), 0);
        let mut transaction = database.begin().await.unwrap();
        let own = retention::list_backups_of_schedule(&mut transaction, large, schedule).await;
        assert_eq!(own.unwrap().len(), 5);
    })
    .await;
    walks_an_index(&raw, "metrics of schedules", async |database| {
        metrics::read(database, 0).await.unwrap();
    })
    .await;
    let select = format!("SELECT id::text FROM backups WHERE schedule_id = {schedule} LIMIT 1");
    let backup = raw.query(&select).await[0][0].clone().unwrap();
    let backup = BackupId::parse(&backup).unwrap();
    walks_an_index(&raw, "backups with their schedules", async |database| {
        let pages = BackupPages::start(database);
        let wanted = PageRequest {
            server: large,
            limit: 100,
            offset: 0,
        };
        let page = pages.find(wanted).await.unwrap();
        assert!(page.backups.iter().all(|backup| backup.schedule.is_some()));
        let found = backups::find(database, large, backup).await.unwrap();
        assert_eq!(found.unwrap().schedule.unwrap().id, schedule);
    })
    .await;
    raw.drop().await;
}
