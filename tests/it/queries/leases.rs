//! How a claim is kept, lost and settled.

use std::time::Duration;

use holdfast_db::jobs::{self, Claim, HeartbeatReply};
use holdfast_db::{Listener, Signal, backups};
use holdfast_domain::job::{Phase, WorkerSlot};
use holdfast_domain::{BackupState, JobProgress, JobState};

use super::{Fixture, LEASE, claim_jobs, completed, failure, next_signal};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_its_lease_is_told_so_and_changes_nothing() {
    let fixture = Fixture::new().await;
    let (server, backup, job) = fixture.backup().await;
    let lost = fixture.claim("slow").await;
    let reply = jobs::heartbeat(&fixture.database, &lost, LEASE, None).await;
    assert_eq!(reply.unwrap(), HeartbeatReply::Held);
    fixture.expire().await;
    assert_eq!(jobs::rescue(&fixture.database).await.unwrap().len(), 1);
    let held = fixture.claim("quick").await;
    assert_eq!((lost.attempt, held.attempt), (1, 2));

    let all = "SELECT row_to_json(j)::text, row_to_json(b)::text FROM jobs j, backups b";
    let before = fixture.raw.query(all).await;
    let progress = JobProgress::begin(Phase::Archiving);
    let database = &fixture.database;
    let reply = jobs::heartbeat(database, &lost, LEASE, Some(&progress)).await;
    assert_eq!(reply.unwrap(), HeartbeatReply::Lost);
    let outcomes = [
        jobs::retry(database, &lost, &failure(), LEASE).await,
        jobs::release(database, &lost).await,
    ];
    for outcome in outcomes {
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

    // The same worker with the old attempt has no claim either.
    let reused = Claim {
        worker: held.worker.clone(),
        ..lost
    };
    assert!(!jobs::release(database, &reused).await.unwrap());

    let reply = jobs::heartbeat(database, &held, LEASE, Some(&progress)).await;
    assert_eq!(reply.unwrap(), HeartbeatReply::Held);
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
    let reply = jobs::heartbeat(database, &held, LEASE, None).await;
    assert_eq!(reply.unwrap(), HeartbeatReply::Lost);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_with_an_expired_lease_is_retried_and_fails_after_the_last_attempt() {
    let fixture = Fixture::new().await;
    let (server, backup, job) = fixture.backup().await;
    for attempt in 1..=3 {
        let claim = fixture.claim("w").await;
        assert_eq!((claim.attempt, claim.max_attempts), (attempt, 3));
        let nothing = jobs::rescue(&fixture.database).await.unwrap();
        assert_eq!(nothing, [], "its lease is good");
        assert_eq!(fixture.state(job).await.0, JobState::Running);
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
        assert_eq!(fixture.state(job).await.0, state);
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
async fn a_released_job_does_not_count_the_attempt() {
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
async fn a_failed_job_waits_for_its_time_and_is_then_promoted() {
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
    let claims = claim_jobs(&fixture.database, "w", WorkerSlot::Normal, 1).await;
    assert_eq!(claims, []);
    let waits = "SELECT round(extract(epoch FROM scheduled_at - now()) / 60)::int FROM jobs";
    assert_eq!(fixture.raw.number(waits).await, 60);

    fixture
        .raw
        .query("UPDATE jobs SET scheduled_at = now()")
        .await;
    let mut listener = Listener::new(&fixture.database).await.unwrap();
    jobs::promote(&fixture.database).await.unwrap();
    let available = Signal::JobAvailable {
        node: "local".to_owned(),
    };
    assert_eq!(next_signal(&mut listener).await, available);
    assert_eq!(fixture.claim("w").await.attempt, 2);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discarded_job_keeps_its_last_error_and_notifies_listeners() {
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
    assert_eq!(next_signal(&mut listener).await, Signal::JobEnded(job));
    let discarded = (JobState::Discarded, Some("It rained.".to_owned()));
    assert_eq!(fixture.state(job).await, discarded);

    // A failed job cannot complete or fail again.
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
