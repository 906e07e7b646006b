//! What the leader repeats costs the same with many schedules and a long history.

use std::time::Duration;

use uuid::Uuid;

use holdfast_db::schedules::{self, DueDecision};
use holdfast_db::servers;
use holdfast_domain::ServerId;
use holdfast_domain::schedule::{RunState, ScheduleId};

use super::walks_an_index;
use crate::support::database::TestDatabase;

/// 2,000 servers with five schedules each, of which a few are due. Each has two tasks and two old
/// runs. Some runs are ready.
const SEED: &str = "
    INSERT INTO users (id, email) VALUES (gen_random_uuid(), 'owner@example.com');
    INSERT INTO servers (id, owner_id, name, directory, node)
    SELECT gen_random_uuid(), (SELECT id FROM users WHERE email LIKE 'owner%'), 'S',
           '/srv/' || n, 'local'
    FROM generate_series(1, 2000) n;
    INSERT INTO backups (id, server_id, name, disk, state, completed_at, sha256, size_bytes,
                         archive_attempt)
    SELECT gen_random_uuid(), id, 'b', 'local', 'completed', now(), sha256('x'), 1, 1
    FROM servers, generate_series(1, 3) n;
    INSERT INTO jobs (kind, server_id, backup_id, node, state, finalized_at)
    SELECT 'create_backup', server_id, id, 'local', 'completed', now() FROM backups;
    INSERT INTO schedules (server_id, name, minute, hour, day_of_month, month, day_of_week,
                           next_due_at, next_run_at)
    SELECT id, 'Nightly', '0', '4', '*', '*', '*', later, later
    FROM servers, LATERAL (SELECT now() + random() * interval '1 day' + n * interval '1 hour' later
                           FROM generate_series(1, 5) n) t;
    UPDATE schedules SET next_due_at = now() - interval '1 second',
                         next_run_at = now() - interval '1 second' WHERE id % 200 = 0;
    INSERT INTO schedule_tasks (schedule_id, sequence, action, payload)
    SELECT id, n, 'command', 'save' FROM schedules, generate_series(1, 2) n;
    INSERT INTO schedule_runs (schedule_id, server_id, due_at, state, finished_at)
    SELECT id, server_id, now() - n * interval '40 days', 'completed',
           now() - n * interval '40 days'
    FROM schedules, generate_series(1, 2) n;
    INSERT INTO schedule_runs (schedule_id, server_id, due_at, state, task, ready_at, tasks)
    SELECT id, server_id, now(), 'waiting', 0, now(), '[]' FROM schedules WHERE id % 250 = 1;";

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_reads_only_what_is_due_or_ready() {
    let raw = TestDatabase::create().await;
    raw.query(SEED).await;
    raw.query("VACUUM ANALYZE").await;
    walks_an_index(&raw, "due schedules", async |database| {
        let due = schedules::list_due(database, 200).await.unwrap();
        assert_eq!(due.len(), 50);
    })
    .await;
    walks_an_index(&raw, "ready runs", async |database| {
        let ready = schedules::list_ready(database, 200).await.unwrap();
        assert_eq!(ready.len(), 40);
    })
    .await;
    walks_an_index(&raw, "the start of runs", async |database| {
        let due = schedules::list_due(database, 5).await.unwrap();
        let mut transaction = database.begin().await.unwrap();
        let locked = schedules::lock_due(&mut transaction, &due).await.unwrap();
        assert_eq!(locked.len(), 5);
        let decisions: Vec<DueDecision<'_>> = locked
            .iter()
            .map(|due| DueDecision {
                schedule: &due.schedule,
                run: Some(due.due_at),
                next: due.schedule.settings.timing.next(due.schedule.id, due.now),
            })
            .collect();
        let runs = schedules::insert_runs(&mut transaction, &decisions).await;
        assert_eq!(runs.unwrap().len(), 5);
        let servers: Vec<ServerId> = due.iter().map(|(_, server)| *server).collect();
        let facts = servers::facts(&mut transaction, &servers).await.unwrap();
        assert_eq!(facts.len(), 5);
        transaction.commit().await.unwrap();
    })
    .await;
    walks_an_index(&raw, "a step and the end of a run", async |database| {
        let (run, _) = schedules::list_ready(database, 1).await.unwrap()[0];
        let mut transaction = database.begin().await.unwrap();
        let run = schedules::lock_ready(&mut transaction, run).await.unwrap();
        let run = run.unwrap();
        assert!(schedules::start(&mut transaction, run.id).await.unwrap());
        let end = schedules::finish(&mut transaction, &run, RunState::Completed);
        end.await.unwrap();
        transaction.commit().await.unwrap();
    })
    .await;
    let rows = raw
        .query("SELECT server_id, id FROM schedules LIMIT 1")
        .await;
    let server = Uuid::parse_str(rows[0][0].as_deref().unwrap()).unwrap();
    let schedule = ScheduleId::parse(rows[0][1].as_deref().unwrap()).unwrap();
    walks_an_index(&raw, "the schedules of a server", async |database| {
        let found = schedules::list(database, ServerId(server)).await.unwrap();
        assert_eq!(found.len(), 5);
        let runs = schedules::runs_of(database, schedule, 10).await.unwrap();
        assert!(runs.len() >= 2);
    })
    .await;
    // All old runs stay, since each schedule has only a few. Each is read once, and no more.
    walks_an_index(&raw, "pruning", async |database| {
        let day = Duration::from_secs(86_400);
        let pruned = schedules::prune_runs(database, 39 * day, 39 * day).await;
        assert_eq!(pruned.unwrap(), 0);
    })
    .await;
    raw.drop().await;
}
