//! What the database's functions promise beyond what requests and workers show of them.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use holdfast_db::backups::NewBackup;
use holdfast_db::jobs::{self, Claim, Failure, Hold, NewJob};
use holdfast_db::{Database, Error, Listener, Signal, backups, keys, servers, subusers, users};
use holdfast_domain::backup::{Completed, Notes};
use holdfast_domain::job::Phase;
use holdfast_domain::key::{ApiKey, KeyKind, KeyToken};
use holdfast_domain::server::ServerLimits;
use holdfast_domain::{
    BackupId, BackupName, BackupState, DiskName, JobId, JobKind, JobState, NodeName, Permission,
    PlacedBy, Profile, Progress, Server, ServerId, ServerRef, ServerState, Standing, UserId,
};

use crate::support::database::TestDatabase;

const LEASE: Duration = Duration::from_secs(60);

/// A database with one user.
struct Fixture {
    raw: TestDatabase,
    database: Database,
    owner: UserId,
}

impl Fixture {
    async fn new() -> Self {
        let raw = TestDatabase::create().await;
        let database = raw.connect().await;
        let owner = UserId(Uuid::new_v4());
        users::create(&database, owner, "Owner@example.com", false)
            .await
            .unwrap();
        Self {
            raw,
            database,
            owner,
        }
    }

    async fn end(self) {
        // A listener that a test still has keeps its connection.
        holdfast_cli::service::close(&self.database).await;
        self.raw.drop().await;
    }

    fn new_server(&self) -> Server {
        let id = ServerId(Uuid::new_v4());
        Server {
            id,
            owner: self.owner,
            name: "Survival".to_owned(),
            directory: format!("/srv/{id}").into(),
            placed_by: PlacedBy::Admin,
            node: node(),
            disk: None,
            state: ServerState::Normal,
            limits: ServerLimits::default(),
            created_at: chrono::Utc::now(),
        }
    }

    async fn server(&self) -> ServerId {
        let server = self.new_server();
        servers::save(&self.database, &server).await.unwrap();
        server.id
    }

    /// A backup that is asked for, with its job.
    async fn backup_of(&self, server: ServerId) -> (BackupId, JobId) {
        let backup = BackupId(Uuid::new_v4());
        let mut transaction = self.database.begin().await.unwrap();
        let new = NewBackup {
            id: backup,
            server,
            name: &BackupName::parse("A backup").unwrap().unwrap(),
            ignored_files: &[],
            disk: &DiskName::parse("local").unwrap(),
            is_locked: true,
            created_by: self.owner,
        };
        backups::insert(&mut transaction, &new).await.unwrap();
        let job = new_job(JobKind::CreateBackup, server, backup);
        let job = jobs::enqueue(&mut transaction, &job).await.unwrap();
        transaction.commit().await.unwrap();
        (backup, job)
    }

    async fn backup(&self) -> (ServerId, BackupId, JobId) {
        let server = self.server().await;
        let (backup, job) = self.backup_of(server).await;
        (server, backup, job)
    }

    /// Claims the one job there is.
    async fn claim(&self, worker: &str) -> Claim {
        let mut claims = jobs::claim(&self.database, &node(), worker, LEASE, 9)
            .await
            .unwrap();
        assert_eq!(claims.len(), 1);
        claims.remove(0)
    }

    /// Lets every lease run out.
    async fn expire(&self) {
        self.raw
            .query("UPDATE jobs SET lease_expires_at = now() - interval '1 second' WHERE state = 'running'")
            .await;
    }

    async fn state(&self, job: JobId) -> (JobState, Option<String>) {
        jobs::state(&self.database, job).await.unwrap().unwrap()
    }

    async fn attempt(&self, job: JobId) -> i64 {
        let statement = format!("SELECT attempt FROM jobs WHERE id = {job}");
        self.raw.number(&statement).await
    }
}

/// The next signal, which has to come.
async fn heard(listener: &mut Listener) -> Signal {
    let next = tokio::time::timeout(Duration::from_secs(30), listener.next()).await;
    next.expect("no signal came")
}

fn node() -> NodeName {
    NodeName::parse("local").unwrap()
}

fn new_job<'a>(kind: JobKind, server: ServerId, backup: BackupId) -> NewJob<'a> {
    static NODE: std::sync::OnceLock<NodeName> = std::sync::OnceLock::new();
    NewJob {
        kind,
        server,
        backup,
        node: NODE.get_or_init(node),
        args: json!({}),
        max_attempts: 3,
    }
}

fn failure() -> Failure {
    Failure {
        sentence: "It rained.".to_owned(),
        detail: "water in the disk".to_owned(),
    }
}

fn completed(attempt: u32) -> Completed {
    Completed {
        at: chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
        sha256: [7; 32],
        size_bytes: 5_000_000_000,
        attempt,
        notes: Notes {
            count: 2,
            first: vec!["world/session.lock: changed while it was read".to_owned()],
        },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_most_urgent_job_is_claimed_first_and_then_the_oldest_of_the_own_node() {
    let fixture = Fixture::new().await;
    let mut made = Vec::new();
    for _ in 0..4 {
        made.push(fixture.backup().await.2);
    }
    let urgent = format!("UPDATE jobs SET priority = -1 WHERE id = {}", made[2]);
    fixture.raw.query(&urgent).await;
    let elsewhere = format!("UPDATE jobs SET node = 'elsewhere' WHERE id = {}", made[0]);
    fixture.raw.query(&elsewhere).await;
    let mut claimed = Vec::new();
    for _ in 0..4 {
        let claims = jobs::claim(&fixture.database, &node(), "w", LEASE, 1)
            .await
            .unwrap();
        claimed.extend(claims.iter().map(|claim| claim.id));
    }
    assert_eq!(claimed, [made[2], made[1], made[3]]);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_job_is_claimed_twice_however_many_claim_at_once() {
    let fixture = Fixture::new().await;
    for _ in 0..30 {
        fixture.backup().await;
    }
    let claimers: Vec<_> = (0..5)
        .map(|n| {
            let database = fixture.database.clone();
            tokio::spawn(async move {
                let mut all = Vec::new();
                loop {
                    let worker = format!("w{n}");
                    let claims = jobs::claim(&database, &node(), &worker, LEASE, 2)
                        .await
                        .unwrap();
                    if claims.is_empty() {
                        return all;
                    }
                    assert!(claims.len() <= 2);
                    all.extend(claims.iter().map(|claim| claim.id.0));
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for claimer in claimers {
        all.extend(claimer.await.unwrap());
    }
    let different: BTreeSet<i64> = all.iter().copied().collect();
    assert_eq!((all.len(), different.len()), (30, 30));
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_another_transaction_holds_is_passed_over_not_waited_for() {
    let fixture = Fixture::new().await;
    let (_, _, held) = fixture.backup().await;
    let (_, _, free) = fixture.backup().await;
    let holding = format!(
        "BEGIN; SELECT id FROM jobs WHERE id = {held} FOR UPDATE; SELECT pg_sleep(600) AS holding"
    );
    let watching = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND wait_event = 'PgSleep'";
    let ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                  WHERE datname = current_database() AND wait_event = 'PgSleep'";
    let test = async {
        crate::support::eventually("the job is held", async || {
            (fixture.raw.number(watching).await == 1).then_some(())
        })
        .await;
        let node = node();
        let claiming = jobs::claim(&fixture.database, &node, "w", LEASE, 5);
        let claims = tokio::time::timeout(Duration::from_secs(30), claiming).await;
        let claims = claims.expect("it waited for the lock").unwrap();
        let ids: Vec<JobId> = claims.iter().map(|claim| claim.id).collect();
        assert_eq!(ids, [free]);
        fixture.raw.query(ending).await;
    };
    let (outcome, ()) = tokio::join!(fixture.raw.try_query(&holding), test);
    assert!(outcome.is_err(), "it was ended, not over");
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_lost_its_lease_is_told_so_and_changes_nothing() {
    let fixture = Fixture::new().await;
    let (server, backup, job) = fixture.backup().await;
    let lost = fixture.claim("slow").await;
    let heard = jobs::heartbeat(&fixture.database, &lost, LEASE, None).await;
    assert_eq!(heard.unwrap(), Hold::Ours);
    fixture.expire().await;
    assert_eq!(jobs::rescue(&fixture.database).await.unwrap().len(), 1);
    let held = fixture.claim("quick").await;
    assert_eq!((lost.attempt, held.attempt), (1, 2));

    let all = "SELECT row_to_json(j)::text, row_to_json(b)::text FROM jobs j, backups b";
    let before = fixture.raw.query(all).await;
    let progress = Progress::begin(Phase::Archiving);
    let database = &fixture.database;
    let heard = jobs::heartbeat(database, &lost, LEASE, Some(&progress)).await;
    assert_eq!(heard.unwrap(), Hold::Lost);
    let heard = [
        jobs::retry(database, &lost, &failure(), LEASE).await,
        jobs::release(database, &lost).await,
    ];
    for outcome in heard {
        assert!(!outcome.unwrap());
    }
    let mut transaction = database.begin().await.unwrap();
    assert!(!jobs::complete(&mut transaction, &lost).await.unwrap());
    assert!(
        !jobs::discard(&mut transaction, &lost, &failure())
            .await
            .unwrap()
    );
    assert!(!jobs::cancel(&mut transaction, &lost).await.unwrap());
    transaction.commit().await.unwrap();
    assert_eq!(fixture.raw.query(all).await, before);

    // The same worker's name with the old attempt is no claim either.
    let reused = Claim {
        worker: held.worker.clone(),
        ..lost
    };
    assert!(!jobs::release(database, &reused).await.unwrap());

    let heard = jobs::heartbeat(database, &held, LEASE, Some(&progress)).await;
    assert_eq!(heard.unwrap(), Hold::Ours);
    let mut transaction = database.begin().await.unwrap();
    assert!(jobs::complete(&mut transaction, &held).await.unwrap());
    assert!(
        backups::complete(&mut transaction, backup, &completed(2))
            .await
            .unwrap()
    );
    transaction.commit().await.unwrap();
    assert_eq!(fixture.state(job).await.0, JobState::Completed);
    let found = backups::find(database, server, backup).await.unwrap();
    assert_eq!(
        found.unwrap().state,
        BackupState::Completed(completed(2)),
        "as it was stored"
    );
    // Once settled, a claim is over.
    let heard = jobs::heartbeat(database, &held, LEASE, None).await;
    assert_eq!(heard.unwrap(), Hold::Lost);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_ran_out_is_tried_again_and_after_the_last_attempt_the_backup_failed() {
    let fixture = Fixture::new().await;
    let (server, backup, job) = fixture.backup().await;
    for attempt in 1..=3 {
        let claim = fixture.claim("w").await;
        assert_eq!((claim.attempt, claim.max_attempts), (attempt, 3));
        let nothing = jobs::rescue(&fixture.database).await.unwrap();
        assert_eq!(nothing, [], "its lease is good");
        let running = jobs::is_attempt_running(&fixture.database, backup, attempt);
        assert!(running.await.unwrap());
        fixture.expire().await;
        let rescued = jobs::rescue(&fixture.database).await.unwrap();
        let state = if attempt < 3 {
            JobState::Available
        } else {
            JobState::Discarded
        };
        let found = (rescued[0].id, rescued[0].attempt, rescued[0].state);
        assert_eq!((rescued.len(), found), (1, (job, attempt, state)));
        assert_eq!(rescued[0].worker, "w");
        let running = jobs::is_attempt_running(&fixture.database, backup, attempt);
        assert!(!running.await.unwrap());
    }
    let sentence = "The process that worked on it stopped responding.";
    assert_eq!(
        fixture.state(job).await,
        (JobState::Discarded, Some(sentence.to_owned()))
    );
    let listed = jobs::list(
        &fixture.database,
        Some(server),
        Some(JobState::Discarded),
        9,
    )
    .await;
    let errors = listed.unwrap()[0].errors.clone();
    assert_eq!(errors.as_array().unwrap().len(), 3, "one for each attempt");
    let found = backups::find(&fixture.database, server, backup)
        .await
        .unwrap()
        .unwrap();
    let BackupState::Failed { error, .. } = &found.state else {
        panic!("{found:?}")
    };
    assert_eq!(
        error,
        "The process that worked on it stopped responding, 3 times."
    );
    assert!(!found.is_locked, "there is nothing to protect");
    assert_eq!(found.progress, None);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_given_back_does_not_count_the_attempt() {
    let fixture = Fixture::new().await;
    let (_, _, job) = fixture.backup().await;
    for _ in 0..5 {
        let claim = fixture.claim("w").await;
        assert_eq!(claim.attempt, 1);
        assert!(jobs::release(&fixture.database, &claim).await.unwrap());
        assert_eq!(fixture.state(job).await, (JobState::Available, None));
        assert_eq!(fixture.attempt(job).await, 0);
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_failed_waits_for_its_time_and_is_promoted_then() {
    let fixture = Fixture::new().await;
    let (_, _, job) = fixture.backup().await;
    let claim = fixture.claim("w").await;
    let wait = Duration::from_secs(3600);
    assert!(
        jobs::retry(&fixture.database, &claim, &failure(), wait)
            .await
            .unwrap()
    );
    jobs::promote(&fixture.database).await.unwrap();
    let scheduled = (JobState::Scheduled, Some("It rained.".to_owned()));
    assert_eq!(fixture.state(job).await, scheduled);
    let claims = jobs::claim(&fixture.database, &node(), "w", LEASE, 1).await;
    assert_eq!(claims.unwrap(), []);
    let waits = "SELECT round(extract(epoch FROM scheduled_at - now()) / 60)::int FROM jobs";
    assert_eq!(fixture.raw.number(waits).await, 60);

    fixture
        .raw
        .query("UPDATE jobs SET scheduled_at = now()")
        .await;
    let mut listener = Listener::new(&fixture.database).await.unwrap();
    jobs::promote(&fixture.database).await.unwrap();
    let called = Signal::Available {
        node: "local".to_owned(),
    };
    assert_eq!(heard(&mut listener).await, called);
    assert_eq!(fixture.claim("w").await.attempt, 2);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_discarded_keeps_its_last_error_and_tells_whoever_listens() {
    let fixture = Fixture::new().await;
    let (server, backup, job) = fixture.backup().await;
    let claim = fixture.claim("w").await;
    let mut listener = Listener::new(&fixture.database).await.unwrap();
    let mut transaction = fixture.database.begin().await.unwrap();
    assert!(
        jobs::discard(&mut transaction, &claim, &failure())
            .await
            .unwrap()
    );
    backups::fail(&mut transaction, backup, "It rained.")
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(heard(&mut listener).await, Signal::Final(job));
    let discarded = (JobState::Discarded, Some("It rained.".to_owned()));
    assert_eq!(fixture.state(job).await, discarded);

    // What has failed is neither completed nor failed once more.
    let mut transaction = fixture.database.begin().await.unwrap();
    let late = backups::complete(&mut transaction, backup, &completed(1)).await;
    assert!(!late.unwrap());
    backups::fail(&mut transaction, backup, "Another reason.")
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    backups::set_ignored_files(&fixture.database, backup, &["late".to_owned()])
        .await
        .unwrap();
    let found = backups::find(&fixture.database, server, backup)
        .await
        .unwrap()
        .unwrap();
    assert!(
        matches!(&found.state, BackupState::Failed { error, .. } if error == "It rained."),
        "{found:?}"
    );
    assert_eq!(found.ignored_files, [""; 0]);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_unfinished_job_touches_a_servers_files_and_a_backup_is_deleted_once() {
    let fixture = Fixture::new().await;
    let (server, backup, job) = fixture.backup().await;
    let enqueue = async |kind| {
        let mut transaction = fixture.database.begin().await.unwrap();
        let job = jobs::enqueue(&mut transaction, &new_job(kind, server, backup)).await?;
        transaction.commit().await?;
        Ok::<JobId, Error>(job)
    };
    for kind in [JobKind::CreateBackup, JobKind::RestoreBackup] {
        let refused = enqueue(kind).await.unwrap_err();
        assert!(
            matches!(&refused, Error::Conflict { constraint } if constraint == "jobs_one_per_server"),
            "{refused:?}"
        );
        assert!(!refused.may_pass());
    }
    let deletion = enqueue(JobKind::DeleteBackup).await.unwrap();
    let refused = enqueue(JobKind::DeleteBackup).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Conflict { constraint } if constraint == "jobs_one_deletion"),
        "{refused:?}"
    );
    let mut transaction = fixture.database.begin().await.unwrap();
    let found = jobs::find_deletion(&mut transaction, backup).await.unwrap();
    assert_eq!(found, Some(deletion));
    drop(transaction);

    // Only what waits is called off; then there is room again.
    for waiting in [deletion, job] {
        assert!(
            jobs::cancel_waiting(&fixture.database, waiting)
                .await
                .unwrap()
        );
        assert_eq!(fixture.state(waiting).await.0, JobState::Cancelled);
        assert!(
            !jobs::cancel_waiting(&fixture.database, waiting)
                .await
                .unwrap()
        );
    }
    let again = enqueue(JobKind::RestoreBackup).await.unwrap();
    fixture.claim("w").await;
    assert!(
        !jobs::cancel_waiting(&fixture.database, again)
            .await
            .unwrap(),
        "a worker has it"
    );
    let all = jobs::list(&fixture.database, None, None, 2).await.unwrap();
    let ids: Vec<JobId> = all.iter().map(|job| job.id).collect();
    assert_eq!(ids, [again, deletion], "newest first, at most two");
    let none = jobs::state(&fixture.database, JobId(99_999)).await.unwrap();
    assert_eq!(none, None);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_signalled_when_its_transaction_commits_and_a_dropped_one_leaves_nothing() {
    let fixture = Fixture::new().await;
    let (one, other) = (fixture.server().await, fixture.server().await);
    let mut listener = Listener::new(&fixture.database).await.unwrap();
    let mut transaction = fixture.database.begin().await.unwrap();
    let job = new_job(JobKind::RestoreBackup, one, BackupId(Uuid::new_v4()));
    jobs::enqueue(&mut transaction, &job).await.unwrap();
    drop(transaction);
    let elsewhere = NodeName::parse("elsewhere").unwrap();
    let mut transaction = fixture.database.begin().await.unwrap();
    let job = NewJob {
        node: &elsewhere,
        ..new_job(JobKind::RestoreBackup, other, BackupId(Uuid::new_v4()))
    };
    jobs::enqueue(&mut transaction, &job).await.unwrap();
    transaction.commit().await.unwrap();
    // The first signal is the second job's: the first was never true.
    let called = Signal::Available {
        node: "elsewhere".to_owned(),
    };
    assert_eq!(heard(&mut listener).await, called);
    assert_eq!(fixture.raw.number("SELECT count(*) FROM jobs").await, 1);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_server_shows_its_load_to_the_one_who_waited() {
    let fixture = Fixture::new().await;
    let server = fixture.server().await;
    let mut first = fixture.database.begin().await.unwrap();
    let load = servers::lock(&mut first, server, 600).await.unwrap();
    assert_eq!((load.unfinished, load.kept), (None, 0));
    let waiting = async {
        let mut second = fixture.database.begin().await.unwrap();
        servers::lock(&mut second, server, 600).await.unwrap()
    };
    let creating = async {
        let blocked = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        crate::support::eventually("the second waits", async || {
            (fixture.raw.number(blocked).await == 1).then_some(())
        })
        .await;
        let backup = BackupId(Uuid::new_v4());
        let new = NewBackup {
            id: backup,
            server,
            name: &BackupName::parse("first").unwrap().unwrap(),
            ignored_files: &[],
            disk: &DiskName::parse("local").unwrap(),
            is_locked: false,
            created_by: fixture.owner,
        };
        backups::insert(&mut first, &new).await.unwrap();
        let job = new_job(JobKind::CreateBackup, server, backup);
        jobs::enqueue(&mut first, &job).await.unwrap();
        first.commit().await.unwrap();
    };
    let (load, ()) = tokio::join!(waiting, creating);
    assert_eq!(
        (load.unfinished, load.kept),
        (Some(JobKind::CreateBackup), 1)
    );
    let mut transaction = fixture.database.begin().await.unwrap();
    let missing = servers::lock(&mut transaction, ServerId(Uuid::new_v4()), 600).await;
    assert!(matches!(missing, Err(Error::Missing { .. })), "{missing:?}");
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_are_listed_over_all_servers_counted_locked_and_deleted() {
    let fixture = Fixture::new().await;
    let (one, first, _) = fixture.backup().await;
    let (_, second, _) = fixture.backup().await;
    let ids = async |server, state, limit| {
        let found = backups::list_all(&fixture.database, server, state, limit).await;
        let ids = found.unwrap().into_iter().map(|backup| backup.id);
        ids.collect::<Vec<BackupId>>()
    };
    assert_eq!(ids(None, None, 9).await, [second, first]);
    assert_eq!(ids(None, None, 1).await, [second]);
    assert_eq!(ids(Some(one), Some("creating"), 9).await, [first]);
    assert_eq!(ids(None, Some("completed"), 9).await, []);
    let counts = backups::count(&fixture.database, one).await.unwrap();
    assert_eq!((counts.total, counts.kept), (1, 1));

    let patterns = ["*.log".to_owned()];
    backups::set_ignored_files(&fixture.database, first, &patterns)
        .await
        .unwrap();
    let mut transaction = fixture.database.begin().await.unwrap();
    backups::set_locked(&mut transaction, first, false)
        .await
        .unwrap();
    let found = backups::lock(&mut transaction, one, first)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.is_locked, found.ignored_files),
        (false, patterns.to_vec())
    );
    backups::fail(&mut transaction, first, "It rained.")
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    let counts = backups::count(&fixture.database, one).await.unwrap();
    assert_eq!((counts.total, counts.kept), (1, 0));
    let mut transaction = fixture.database.begin().await.unwrap();
    backups::delete(&mut transaction, first).await.unwrap();
    let gone = backups::lock(&mut transaction, one, first).await.unwrap();
    assert_eq!(gone, None);
    transaction.commit().await.unwrap();
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_refuses_states_that_can_not_be() {
    let fixture = Fixture::new().await;
    fixture.backup().await;
    for (statement, constraint) in [
        ("UPDATE backups SET state = 'completed'", "backups_state"),
        ("UPDATE backups SET state = 'paused'", "backups_state"),
        (
            "UPDATE backups SET state = 'failed', failed_at = now(), error = 'x'",
            "backups_state",
        ),
        ("UPDATE backups SET size_bytes = 1", "backups_state"),
        ("UPDATE jobs SET state = 'running'", "jobs_lease"),
        ("UPDATE jobs SET state = 'completed'", "jobs_final"),
        ("UPDATE jobs SET finalized_at = now()", "jobs_final"),
        ("UPDATE jobs SET kind = 'dance'", "jobs_kind_check"),
        ("UPDATE servers SET backup_limit = -1", "backup_limit"),
        (
            "UPDATE servers SET directory = 'relative'",
            "directory_check",
        ),
        ("DELETE FROM servers", "servers_id"),
    ] {
        let refused = fixture.raw.try_query(statement).await.unwrap_err();
        let text = refused.to_string();
        let short = constraint.trim_end_matches("s_id");
        assert!(text.contains(short), "{statement}: {text}");
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_known_by_their_address_in_any_spelling() {
    let fixture = Fixture::new().await;
    let database = &fixture.database;
    let other = UserId(Uuid::new_v4());
    let taken = users::create(database, other, "oWNER@EXAMPLE.COM", false).await;
    assert!(matches!(taken, Err(Error::Conflict { .. })), "{taken:?}");
    users::create(database, other, "a@example.com", true)
        .await
        .unwrap();
    let found = users::find_by_email(database, "OWNER@example.com").await;
    let found = found.unwrap().unwrap();
    assert_eq!(
        (found.id, found.email.as_str(), found.is_admin),
        (fixture.owner, "Owner@example.com", false)
    );
    let nobody = users::find_by_email(database, "b@example.com").await;
    assert_eq!(nobody.unwrap(), None);
    let all: Vec<UserId> = users::list(database)
        .await
        .unwrap()
        .into_iter()
        .map(|user| user.id)
        .collect();
    assert_eq!(all, [other, fixture.owner]);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_stored_as_hashes_and_come_back_as_they_were() {
    let fixture = Fixture::new().await;
    let database = &fixture.database;
    let token = KeyToken::generate(KeyKind::Application, &[3; 43]);
    let at = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let key = ApiKey {
        identifier: token.identifier().clone(),
        user: fixture.owner,
        kind: KeyKind::Application,
        profile: Profile::Pterodactyl,
        secret_hash: token.secret_hash(),
        description: "a panel".to_owned(),
        allowed_ips: vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
        expires_at: Some(at),
        created_at: at,
    };
    keys::create(database, &key).await.unwrap();
    let again = keys::create(database, &key).await;
    assert!(matches!(again, Err(Error::Conflict { .. })), "{again:?}");
    let stored = fixture
        .raw
        .query("SELECT row_to_json(k)::text FROM api_keys k")
        .await;
    let secret = &token.reveal()[16..];
    assert!(!stored[0][0].as_deref().unwrap().contains(secret));
    let found = keys::find(database, &key.identifier).await.unwrap();
    let found = found.unwrap();
    assert_eq!((&found.key, found.is_admin), (&key, false));
    assert_eq!(found.email, "Owner@example.com");
    for (email, count) in [
        (None, 1),
        (Some("owner@EXAMPLE.com"), 1),
        (Some("b@example.com"), 0),
    ] {
        let listed = keys::list(database, email).await.unwrap();
        assert_eq!(listed.len(), count, "{email:?}");
    }
    assert!(keys::revoke(database, &key.identifier).await.unwrap());
    assert!(!keys::revoke(database, &key.identifier).await.unwrap());
    assert_eq!(keys::find(database, &key.identifier).await.unwrap(), None);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_found_by_either_name_and_seen_by_who_has_a_part_in_them() {
    let fixture = Fixture::new().await;
    let database = &fixture.database;
    let mut server = fixture.new_server();
    server.limits = ServerLimits {
        backups: Some(3),
        max_backup_bytes: Some(5_000_000_000),
        quota_bytes: Some(0),
        retention_days: Some(7),
    };
    servers::save(database, &server).await.unwrap();
    server.name = "Creative".to_owned();
    server.state = ServerState::Suspended;
    server.disk = Some(DiskName::parse("big").unwrap());
    servers::save(database, &server).await.unwrap();
    let short = ServerRef::parse(&server.id.short()).unwrap();
    for named in [ServerRef::Id(server.id), short] {
        let found = servers::find(database, &named).await.unwrap().unwrap();
        assert_eq!(
            (found.name, found.state, found.disk, found.limits),
            (
                server.name.clone(),
                server.state,
                server.disk.clone(),
                server.limits
            )
        );
    }
    // Another one with the same first digits would have no short name of its own.
    let mut bytes = *server.id.0.as_bytes();
    bytes[15] ^= 1;
    let twin = Server {
        id: ServerId(Uuid::from_bytes(bytes)),
        ..fixture.new_server()
    };
    let refused = servers::save(database, &twin).await;
    assert!(
        matches!(refused, Err(Error::Conflict { .. })),
        "{refused:?}"
    );
    let orphan = Server {
        owner: UserId(Uuid::new_v4()),
        ..fixture.new_server()
    };
    let refused = servers::save(database, &orphan).await;
    assert!(matches!(refused, Err(Error::Missing { .. })), "{refused:?}");

    let named = ServerRef::Id(server.id);
    let someone = UserId(Uuid::new_v4());
    users::create(database, someone, "someone@example.com", false)
        .await
        .unwrap();
    let standing = async |user, is_admin| {
        let found = servers::find_for(database, &named, user, is_admin).await;
        found.unwrap().map(|(_, standing)| standing)
    };
    assert_eq!(standing(fixture.owner, false).await, Some(Standing::Owner));
    assert_eq!(standing(someone, false).await, None);
    assert_eq!(standing(someone, true).await, Some(Standing::Admin));
    let permissions = [Permission::Read, Permission::Restore];
    subusers::set(database, server.id, someone, &permissions)
        .await
        .unwrap();
    assert_eq!(
        standing(someone, false).await,
        Some(Standing::Subuser(permissions.into()))
    );
    let listed = subusers::list(database, server.id).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].email.as_str(), &listed[0].permissions[..]),
        ("someone@example.com", &permissions[..])
    );
    subusers::set(database, server.id, someone, &[])
        .await
        .unwrap();
    assert_eq!(standing(someone, false).await, None);
    let missing = subusers::set(database, ServerId(Uuid::new_v4()), someone, &permissions).await;
    assert!(matches!(missing, Err(Error::Missing { .. })), "{missing:?}");

    let other = fixture.server().await;
    let all: Vec<ServerId> = servers::list(database)
        .await
        .unwrap()
        .into_iter()
        .map(|server| server.id)
        .collect();
    assert_eq!(all, [server.id, other]);
    let here = servers::list_on_node(database, &node()).await.unwrap();
    assert_eq!(here.len(), 2);
    let elsewhere = NodeName::parse("elsewhere").unwrap();
    let there = servers::list_on_node(database, &elsewhere).await.unwrap();
    assert_eq!(there, []);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_run_once_however_often_and_by_however_many_they_are_asked_for() {
    let raw = TestDatabase::create_empty().await;
    let (one, other) = (raw.connect().await, raw.connect().await);
    let both = tokio::join!(holdfast_db::migrate(&one), holdfast_db::migrate(&other));
    both.0.unwrap();
    both.1.unwrap();
    holdfast_db::migrate(&one).await.unwrap();
    let files = fs_err::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations"))
        .unwrap()
        .filter(|entry| {
            let path = entry.as_ref().unwrap().path();
            path.extension().is_some_and(|extension| extension == "sql")
        })
        .count();
    let ran = raw.number("SELECT count(*) FROM _sqlx_migrations").await;
    assert_eq!(usize::try_from(ran).unwrap(), files);
    one.close().await;
    other.close().await;
    raw.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_there_may_come_back_and_a_url_that_is_none_stays_wrong() {
    let wrong = Database::connect("no url", 1).await.unwrap_err();
    assert!(matches!(wrong, Error::Url(_)), "{wrong:?}");
    assert!(!wrong.may_pass());
    let raw = TestDatabase::create().await;
    let url = raw.url();
    let database = raw.connect().await;
    database.ping().await.unwrap();
    raw.drop().await;
    let gone = database.ping().await.unwrap_err();
    assert!(gone.may_pass(), "{gone:?}");
    let gone = Database::connect(&url, 1).await.unwrap_err();
    assert!(gone.may_pass(), "{gone:?}");
    database.close().await;
    let closed = database.ping().await.unwrap_err();
    assert!(closed.may_pass(), "{closed:?}");
}
