//! Claims: which worker gets which job, and how many there may be.

use std::collections::BTreeSet;
use std::time::Duration;

use uuid::Uuid;

use holdfast_db::jobs::{self, NewJob};
use holdfast_db::{Error, Listener, Signal};
use holdfast_domain::job::WorkerSlot;
use holdfast_domain::{BackupId, JobId, JobKind, JobState, NodeName};

use super::{Fixture, claim_jobs, new_job, next_signal};

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_the_node_are_claimed_by_priority_and_then_by_age() {
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
        let claims = claim_jobs(&fixture.database, "w", WorkerSlot::Normal, 1).await;
        claimed.extend(claims.iter().map(|claim| claim.id));
    }
    assert_eq!(claimed, [made[2], made[1], made[3]]);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn low_priority_jobs_are_claimed_only_by_separate_slots() {
    let fixture = Fixture::new().await;
    let (_, _, spare) = fixture.backup().await;
    let (_, _, main) = fixture.backup().await;
    let waits = format!("UPDATE jobs SET priority = 100 WHERE id = {spare}");
    fixture.raw.query(&waits).await;
    let ids = |claims: Vec<jobs::Claim>| claims.iter().map(|claim| claim.id).collect::<Vec<_>>();
    let database = &fixture.database;
    for (expected_spare, expected_main) in [(vec![spare], vec![main]), (vec![], vec![])] {
        let claimed = claim_jobs(database, "w", WorkerSlot::LowPriority, 9).await;
        assert_eq!(ids(claimed), expected_spare);
        let claimed = claim_jobs(database, "w", WorkerSlot::Normal, 9).await;
        assert_eq!(ids(claimed), expected_main);
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_job_is_claimed_twice_by_simultaneous_claims() {
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
                    let claims = claim_jobs(&database, &worker, WorkerSlot::Normal, 2).await;
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
async fn a_job_that_another_transaction_holds_is_skipped() {
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
        let claiming = claim_jobs(&fixture.database, "w", WorkerSlot::Normal, 5);
        let claims = tokio::time::timeout(Duration::from_secs(30), claiming).await;
        let claims = claims.expect("it waited for the lock");
        let ids: Vec<JobId> = claims.iter().map(|claim| claim.id).collect();
        assert_eq!(ids, [free]);
        fixture.raw.query(ending).await;
    };
    let (outcome, ()) = tokio::join!(fixture.raw.try_query(&holding), test);
    assert!(outcome.is_err(), "it was ended, not over");
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_has_one_unfinished_job_and_a_backup_is_deleted_once() {
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
        let Error::Conflict { constraint } = &refused else {
            panic!("{refused:?}");
        };
        assert_eq!(constraint, "jobs_one_per_server");
        assert!(!refused.is_temporary());
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

    // Only waiting jobs are cancelled. Then there is a free place again.
    for waiting in [deletion, job] {
        assert!(
            jobs::cancel_queued(&fixture.database, waiting)
                .await
                .unwrap()
        );
        assert_eq!(fixture.state(waiting).await.0, JobState::Cancelled);
        assert!(
            !jobs::cancel_queued(&fixture.database, waiting)
                .await
                .unwrap()
        );
    }
    let again = enqueue(JobKind::RestoreBackup).await.unwrap();
    fixture.claim("w").await;
    assert!(
        !jobs::cancel_queued(&fixture.database, again).await.unwrap(),
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
    // The first signal belongs to the second job, since the first job was rolled back.
    let available = Signal::JobAvailable {
        node: "elsewhere".to_owned(),
    };
    assert_eq!(next_signal(&mut listener).await, available);
    assert_eq!(fixture.raw.number("SELECT count(*) FROM jobs").await, 1);
    fixture.end().await;
}
