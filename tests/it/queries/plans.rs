//! Queries that clients or workers repeat never read a whole table.
//!
//! The test uses PostgreSQL's own count of such reads (`seq_scan`) around the real function, not a
//! copy of its text. So it stays valid when a query changes, and it covers the generic plan that
//! PostgreSQL chooses after a prepared statement was used a few times.

mod all_schedules;
mod leader;
mod panel;
mod panel_worker;
mod schedules;
mod upkeep;

use std::time::Duration;

use futures_util::future::join_all;
use uuid::Uuid;

use holdfast_db::backups::{ArchiveLocation, BackupPages, VerificationOutcome};
use holdfast_db::jobs::{self, JobFilter};
use holdfast_db::operator_log::{Change, OperatorAction};
use holdfast_db::request_lookup::{LookupRequest, RequestLookup};
use holdfast_db::{
    Database, activity, backups, events, metrics, servers, standing, usage, users, webhooks,
};
use holdfast_domain::backup::VerificationState;
use holdfast_domain::job::WorkerSlot;
use holdfast_domain::key::KeyIdentifier;
use holdfast_domain::{BackupId, DiskName, JobId, JobKind, JobState, ServerId, ServerRef, UserId};

use super::{claim_jobs, node};
use crate::support::database::TestDatabase;
use crate::support::eventually;

/// 2,000 servers with 20,000 backups, half of them of one server, and as many jobs, of which a few
/// are unfinished.
const SEED: &str = "
    INSERT INTO users (id, email, is_admin)
    SELECT gen_random_uuid(), 'u' || n || '@example.com', false FROM generate_series(1, 2000) n;
    INSERT INTO api_keys (identifier, user_id, kind, profile, secret_hash, description)
    SELECT 'ptlc_' || lpad(row_number() OVER ()::text, 11, 'a'), id, 'client', 'documented',
           decode(repeat('00', 32), 'hex'), ''
    FROM users WHERE email LIKE 'u%';
    INSERT INTO servers (id, owner_id, name, directory, node)
    SELECT gen_random_uuid(), id, 'S', '/srv/' || id, 'local' FROM users WHERE email LIKE 'u%';
    INSERT INTO backups (id, server_id, name, disk, state, completed_at, sha256, size_bytes,
                         archive_attempt, created_at)
    SELECT gen_random_uuid(), s.id, 'b', 'local', 'completed', now(),
           decode(repeat('00', 32), 'hex'), 1, 1, now() - n * interval '1 minute'
    FROM (SELECT id, row_number() OVER (ORDER BY id) AS number FROM servers) s,
         LATERAL generate_series(1, CASE number WHEN 1 THEN 10000 ELSE 5 END) n;
    INSERT INTO jobs (kind, server_id, backup_id, node, state, finalized_at, started_at, attempt)
    SELECT 'create_backup', server_id, id, 'local', 'completed', now(), now(), 1 FROM backups;
    INSERT INTO jobs (kind, server_id, backup_id, node, state, claimed_by, lease_expires_at, \
    attempt, scheduled_at)
    SELECT 'create_backup', id, gen_random_uuid(), 'local',
           CASE number % 3 WHEN 0 THEN 'available' WHEN 1 THEN 'scheduled' ELSE 'running' END,
           CASE number % 3 WHEN 2 THEN 'gone' END,
           CASE number % 3 WHEN 2 THEN now() - interval '1 minute' END, 1, \
           now() - interval '1 minute'
    FROM (SELECT id, row_number() OVER (ORDER BY id DESC) AS number FROM servers) s \
    WHERE number <= 30;
    INSERT INTO activity (event, server_id, backup_id, properties)
    SELECT 'server:backup.start', server_id, id, '{}' FROM backups;
    UPDATE backups SET completed_at = now() - interval '1 hour';
    INSERT INTO schedules (server_id, name, minute, hour, day_of_month, month, day_of_week,
                           last_success_at)
    SELECT id, 'S', '0', '4', '*', '*', '*', now() FROM servers;
    INSERT INTO events (id, kind, server_id, server_name, backup_id, backup)
    SELECT nextval('events_id'), 'backup.changed', server_id, 'S', id, backup_snapshot(b) \
    FROM backups b;
    INSERT INTO webhooks (id, url, secret)
    SELECT gen_random_uuid(), 'http://127.0.0.1:1', decode(repeat('00', 32), 'hex') \
    FROM generate_series(1, 2);
    INSERT INTO deliveries (webhook_id, event_id) SELECT w.id, n.id FROM webhooks w, events n \
    WHERE n.id % 4 = 0";

/// The tables that grow.
const TABLES: &str = "users backups jobs servers api_keys activity events deliveries schedules \
                      schedule_tasks schedule_runs";

/// How often each table was read completely so far.
async fn whole_reads(raw: &TestDatabase) -> Vec<(String, i64)> {
    // A connection reports its counts when it ends.
    let others = "SELECT count(*) FROM pg_stat_activity
                  WHERE datname = current_database() AND pid <> pg_backend_pid() \
                  AND backend_type = 'client backend'";
    eventually("the other connections have ended", async || {
        (raw.number(others).await == 0).then_some(())
    })
    .await;
    let rows = raw
        .query("SELECT relname, seq_scan FROM pg_stat_user_tables ORDER BY relname")
        .await;
    rows.into_iter()
        .map(|row| {
            let count = row[1].as_deref().unwrap().parse().unwrap();
            (row[0].clone().unwrap(), count)
        })
        .filter(|(table, _)| TABLES.split(' ').any(|known| known == table))
        .collect()
}

/// Runs a query eight times on one connection, and fails if it read a whole table.
async fn walks_an_index(raw: &TestDatabase, what: &str, query: impl AsyncFn(&Database)) {
    let before = whole_reads(raw).await;
    let database = Database::connect(&raw.url(), 1).await.unwrap();
    for _ in 0..8 {
        query(&database).await;
    }
    database.close().await;
    assert_eq!(whole_reads(raw).await, before, "{what} reads a whole table");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_that_is_repeated_reads_a_whole_table() {
    let raw = TestDatabase::create().await;
    raw.query(SEED).await;
    raw.query("VACUUM ANALYZE").await;
    let one = async |select: &str| {
        let rows = raw.query(select).await;
        rows[0][0].clone().unwrap()
    };
    let uuid = async |select: &str| Uuid::parse_str(&one(select).await).unwrap();
    let large = ServerId(
        uuid("SELECT server_id FROM backups GROUP BY server_id ORDER BY count(*) DESC LIMIT 1")
            .await,
    );
    let select = format!("SELECT id FROM backups WHERE server_id = '{large}' LIMIT 1");
    let backup = BackupId(uuid(&select).await);
    let key = one(&format!(
        "SELECT k.identifier FROM api_keys k JOIN servers s ON s.owner_id = k.user_id \
         WHERE s.id = '{large}'"
    ))
    .await;
    let key = KeyIdentifier::parse(&key).unwrap();
    let job = JobId(raw.number("SELECT min(id) FROM jobs").await);

    // Checks that a complete read would be noticed.
    let before = whole_reads(&raw).await;
    raw.query("SELECT count(*) FROM jobs WHERE args = '[]'")
        .await;
    assert_ne!(whole_reads(&raw).await, before);

    // Alone, and in a full batch.
    for together in [1, 50] {
        for server in [
            ServerRef::Id(large),
            ServerRef::parse(&large.short()).unwrap(),
        ] {
            let named = LookupRequest {
                key: key.clone(),
                server: Some(server),
                backup: Some(backup),
            };
            walks_an_index(&raw, "what a request names", async |database| {
                let lookup = RequestLookup::start(database);
                let asked = (0..together).map(|_| lookup.find(named.clone()));
                for found in join_all(asked).await {
                    let context = found.unwrap().unwrap();
                    assert!(context.server.is_some() && context.backup.is_some());
                }
            })
            .await;
        }
        for (what, offset) in [
            ("the first page of a list", 0),
            ("a later page of a list", 100),
        ] {
            let wanted = backups::PageRequest {
                server: large,
                limit: 25,
                offset,
            };
            walks_an_index(&raw, what, async |database| {
                let pages = BackupPages::start(database);
                for page in join_all((0..together).map(|_| pages.find(wanted))).await {
                    let page = page.unwrap();
                    assert_eq!((page.backups.len(), page.total), (25, 10_000));
                }
            })
            .await;
        }
    }
    walks_an_index(&raw, "the view of a backup", async |database| {
        let found = backups::find(database, large, backup).await;
        assert!(found.unwrap().is_some());
    })
    .await;
    walks_an_index(&raw, "the lock on a backup", async |database| {
        let mut transaction = database.begin().await.unwrap();
        let found = backups::find_for_update(&mut transaction, large, backup).await;
        assert!(found.unwrap().is_some());
    })
    .await;
    let select = format!("SELECT owner_id FROM servers WHERE id = '{large}'");
    let owner = UserId(uuid(&select).await);
    walks_an_index(&raw, "the servers of a user", async |database| {
        assert_eq!(servers::count_of_user(database, owner).await.unwrap(), 1);
        let found = servers::page_of_user(database, owner, 25, 0).await.unwrap();
        assert_eq!(found.len(), 1);
    })
    .await;
    let small =
        ServerId(uuid("SELECT server_id FROM jobs WHERE state = 'available' LIMIT 1").await);
    walks_an_index(&raw, "the count for the limit", async |database| {
        let mut transaction = database.begin().await.unwrap();
        let load = servers::lock(&mut transaction, small, 600).await.unwrap();
        assert_eq!(
            (load.backups, load.unfinished),
            (5, Some(JobKind::CreateBackup))
        );
    })
    .await;
    walks_an_index(&raw, "the audit log", async |database| {
        activity::count(database, small, false).await.unwrap();
        let found = activity::list(database, large, false, 25, 0).await.unwrap();
        assert_eq!(found.len(), 25);
    })
    .await;
    walks_an_index(&raw, "the state of a job", async |database| {
        assert!(jobs::state(database, job).await.unwrap().is_some());
    })
    .await;
    let pages = [
        JobFilter {
            server: Some(large),
            kind: None,
            state: None,
        },
        JobFilter {
            server: None,
            kind: None,
            state: None,
        },
        JobFilter {
            server: None,
            kind: None,
            state: Some(JobState::Running),
        },
    ];
    for wanted in pages {
        walks_an_index(&raw, "a page of jobs", async |database| {
            let found = jobs::page(database, wanted, 5, 0).await.unwrap();
            assert_eq!(found.len(), 5);
        })
        .await;
    }
    walks_an_index(&raw, "the totals of disks", async |database| {
        assert!(!usage::by_disk(database).await.unwrap().is_empty());
    })
    .await;
    walks_an_index(&raw, "a page of the totals of servers", async |database| {
        let found = usage::by_server(database, 25, 0).await.unwrap();
        assert_eq!(found.len(), 25);
    })
    .await;

    walks_an_index(&raw, "the metrics of the database", async |database| {
        let figures = metrics::read(database, 10_000).await.unwrap();
        assert_eq!(figures.last_backups.len(), 2000);
        assert_eq!(figures.unfinished.len(), 3);
    })
    .await;
    for disk_node in [None, Some(node())] {
        let disk = DiskName::parse("local").unwrap();
        let place = ArchiveLocation {
            disk: &disk,
            disk_node: disk_node.as_ref(),
        };
        walks_an_index(&raw, "the schedule of verifications", async |database| {
            raw.query("UPDATE verification_schedules SET next_at = now()")
                .await;
            let every = Duration::from_secs(1);
            let begun = backups::schedule_verifications(database, place, &node(), every).await;
            assert!(begun.unwrap().is_some());
        })
        .await;
    }
    let waiting = "SELECT count(*) FROM jobs WHERE kind = 'verify_backup' AND state = 'available'";
    assert_eq!(raw.number(waiting).await, 10);
    walks_an_index(
        &raw,
        "a claim of what can wait, and its end",
        async |database| {
            let claims = claim_jobs(database, "w", WorkerSlot::LowPriority, 1).await;
            let mut transaction = database.begin().await.unwrap();
            let end = VerificationOutcome {
                state: VerificationState::Passed,
                sentence: None,
                job: Some(claims[0].id),
                interval_elapsed: Duration::ZERO,
            };
            let done = backups::record_verification(&mut transaction, claims[0].backup, &end).await;
            assert!(done.unwrap());
            transaction.commit().await.unwrap();
        },
    )
    .await;
    let leave = "DELETE FROM jobs WHERE kind = 'verify_backup'";
    raw.query(leave).await;
    // The check in each transaction that acts: an owner, and somebody without a part in the server.
    for select in ["=", "<>"] {
        let user = format!(
            "SELECT user_id FROM api_keys JOIN servers ON owner_id {select} user_id
             WHERE servers.id = '{large}' LIMIT 1"
        );
        let user = UserId(uuid(&user).await);
        let key = one(&format!(
            "SELECT identifier FROM api_keys WHERE user_id = '{}'",
            user.0
        ))
        .await;
        let key = KeyIdentifier::parse(&key).unwrap();
        walks_an_index(&raw, "standing::lock", async |database| {
            let mut transaction = database.begin().await.unwrap();
            let found = standing::lock(&mut transaction, user, &key, Some(large)).await;
            let access = found.unwrap().unwrap().access;
            assert_eq!(access.is_some(), select == "=");
        })
        .await;
    }

    walks_an_index(&raw, "users::lock_admins", async |database| {
        let (command, typed_by) = ("test".to_owned(), "test".to_owned());
        let action = OperatorAction::Command { command, typed_by };
        let mut change = Change::begin(database, action).await.unwrap();
        assert!(users::lock_admins(&mut change).await.unwrap().is_empty());
    })
    .await;
    let some = "SELECT DISTINCT server_id FROM events ORDER BY 1 LIMIT 50";
    let after: Vec<(ServerId, i64)> = raw
        .query(some)
        .await
        .iter()
        .map(|row| (ServerId(row[0].as_deref().unwrap().parse().unwrap()), 0))
        .collect();
    let servers: Vec<ServerId> = after.iter().map(|(server, _)| *server).collect();
    walks_an_index(&raw, "the events of streams", async |database| {
        assert_eq!(events::range(database).await.unwrap().oldest, Some(1));
        let found = events::list_after(database, &after, 100).await.unwrap();
        assert!(found.len() >= 250);
        jobs::list_unfinished(database, &servers).await.unwrap();
    })
    .await;
    walks_an_index(&raw, "the deliveries of webhooks", async |database| {
        let minute = Duration::from_secs(60);
        for claimed in webhooks::claim(database, minute, 32).await.unwrap() {
            let due = webhooks::list_due(database, claimed.id, 20).await.unwrap();
            assert_eq!(due.len(), 20);
            let [one, two, three] = [&due[0].event, &due[1].event, &due[2].event];
            assert!(
                webhooks::record_delivery(database, &claimed, one)
                    .await
                    .unwrap()
            );
            assert!(
                webhooks::record_failure(database, &claimed, two, "no", minute)
                    .await
                    .unwrap()
            );
            assert!(
                webhooks::give_up(database, &claimed, three, "no")
                    .await
                    .unwrap()
            );
            webhooks::release(database, &claimed).await.unwrap();
        }
    })
    .await;
    walks_an_index(&raw, "what is pruned", async |database| {
        let day = Duration::from_secs(24 * 3600);
        assert_eq!(webhooks::expire(database, day).await.unwrap(), 0);
        assert_eq!(events::prune(database, day).await.unwrap(), 0);
    })
    .await;

    // The queries of workers, busy and idle.
    walks_an_index(&raw, "rescue", async |database| {
        jobs::rescue(database).await.unwrap();
    })
    .await;
    walks_an_index(&raw, "promote", async |database| {
        jobs::promote(database).await.unwrap();
    })
    .await;
    let available = "SELECT count(*) FROM jobs WHERE state = 'available'";
    assert_eq!(raw.number(available).await, 30);
    walks_an_index(&raw, "claim and heartbeat", async |database| {
        let claims = claim_jobs(database, "w", WorkerSlot::Normal, 5).await;
        for claim in &claims {
            let lease = Duration::from_secs(60);
            jobs::heartbeat(database, claim, lease, None).await.unwrap();
        }
    })
    .await;
    assert_eq!(raw.number(available).await, 0);
    upkeep::maintenance_walks_indexes(&raw, large, backup).await;
    raw.drop().await;
}
