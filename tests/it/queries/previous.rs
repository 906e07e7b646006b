//! Which earlier archive a backup may reuse, and what is known against it.

use uuid::Uuid;

use holdfast_db::backups::{self, PreviousBackup, VerificationOutcome};
use holdfast_db::{events, jobs};
use holdfast_domain::backup::{ArchiveWork, VerificationState};
use holdfast_domain::{Backup, BackupId, BackupState, JobId, JobKind, NodeName, ServerId};

use super::{Fixture, claim_jobs, completed, new_job, node};

impl Fixture {
    /// A backup that has completed now.
    async fn completed(&self, server: ServerId, work: Option<ArchiveWork>) -> BackupId {
        let (backup, job) = self.backup_of(server).await;
        let mut completed = completed(2);
        completed.at = chrono::Utc::now();
        completed.work = work;
        let mut transaction = self.database.begin().await.unwrap();
        let done = backups::complete(&mut transaction, backup, &completed).await;
        assert!(done.unwrap());
        transaction.commit().await.unwrap();
        self.raw
            .query(&format!("DELETE FROM jobs WHERE id = {job}"))
            .await;
        backup
    }

    /// What a new backup of the server finds, on a local disk of a node or in a bucket.
    async fn previous(&self, server: ServerId, on: Option<&str>) -> Option<PreviousBackup> {
        let (backup, job) = self.backup_of(server).await;
        let new = backups::find(&self.database, server, backup).await.unwrap();
        let new: Backup = new.unwrap();
        let on = on.map(|name| NodeName::parse(name).unwrap());
        let found = backups::find_previous(&self.database, &new, on.as_ref()).await;
        let clean =
            format!("DELETE FROM jobs WHERE id = {job}; DELETE FROM backups WHERE id = '{backup}'");
        self.raw.query(&clean).await;
        found.unwrap()
    }

    /// Whether the previous backup is suspect, and whether it is from before a restore.
    async fn doubts(&self, server: ServerId) -> (bool, bool) {
        let found = self.previous(server, Some("local")).await.unwrap();
        (found.is_suspect, found.is_before_restore)
    }

    async fn verified(&self, backup: BackupId, state: VerificationState) {
        let mut transaction = self.database.begin().await.unwrap();
        let outcome = VerificationOutcome {
            state,
            sentence: Some("It rained."),
            job: None,
            interval_elapsed: std::time::Duration::ZERO,
        };
        let done = backups::record_verification(&mut transaction, backup, &outcome).await;
        assert!(done.unwrap());
        transaction.commit().await.unwrap();
    }

    async fn begin_restore(&self, server: ServerId, backup: BackupId) -> JobId {
        let mut transaction = self.database.begin().await.unwrap();
        let job = new_job(JobKind::RestoreBackup, server, backup);
        let job = jobs::enqueue(&mut transaction, &job).await.unwrap();
        transaction.commit().await.unwrap();
        job
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_of_a_backup_is_stored_and_shown_as_it_was() {
    let fixture = Fixture::new().await;
    let server = fixture.server().await;
    let work = ArchiveWork {
        reused_from: Some(BackupId(Uuid::new_v4())),
        reused_bytes: 4_000_000_000,
        read_bytes: 7,
        stored_bytes: None,
        unread_backups: 3,
    };
    for work in [None, Some(ArchiveWork::default()), Some(work)] {
        let backup = fixture.completed(server, work.clone()).await;
        let found = backups::find(&fixture.database, server, backup).await;
        let BackupState::Completed(completed) = found.unwrap().unwrap().state else {
            panic!("{backup} is completed");
        };
        assert_eq!(completed.work, work);
        let events = events::list_after(&fixture.database, &[(server, 0)], 100).await;
        let event = events.unwrap().pop().unwrap();
        let told = event.snapshot.unwrap();
        let told = (
            told.reused_from,
            told.reused_bytes,
            told.read_bytes,
            told.stored_bytes,
        );
        assert_eq!(
            (event.kind.as_str(), event.backup),
            ("backup.completed", Some(backup))
        );
        let expected = work.as_ref().map_or((None, None, None, None), |work| {
            (
                work.reused_from,
                Some(work.reused_bytes),
                Some(work.read_bytes),
                work.stored_bytes,
            )
        });
        assert_eq!(told, expected);
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_previous_backup_is_the_newest_completed_one_within_reach() {
    let fixture = Fixture::new().await;
    let server = fixture.server().await;
    assert_eq!(fixture.previous(server, None).await, None);
    fixture.completed(fixture.server().await, None).await;
    let (failed, job) = fixture.backup_of(server).await;
    let mut transaction = fixture.database.begin().await.unwrap();
    backups::fail(&mut transaction, failed, "It rained.")
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    let ended = format!("DELETE FROM jobs WHERE id = {job}");
    fixture.raw.query(&ended).await;
    assert_eq!(fixture.previous(server, None).await, None);

    let work = ArchiveWork {
        unread_backups: 5,
        ..ArchiveWork::default()
    };
    fixture.completed(server, None).await;
    let first = fixture.completed(server, Some(work)).await;
    let found = PreviousBackup {
        id: first,
        attempt: 2,
        size_bytes: 5_000_000_000,
        sha256: [7; 32],
        unread_backups: Some(5),
        is_suspect: false,
        is_before_restore: false,
    };
    assert_eq!(fixture.previous(server, None).await, Some(found.clone()));
    let second = fixture.completed(server, None).await;
    for (change, bucket, here, there) in [
        ("node = 'local'", second, second, None),
        ("node = NULL", second, second, Some(second)),
        ("node = 'there'", second, first, Some(second)),
        ("disk = 'other'", first, first, None),
    ] {
        let changed = format!("UPDATE backups SET {change} WHERE id = '{second}'");
        fixture.raw.query(&changed).await;
        let id = async |on| fixture.previous(server, on).await.map(|found| found.id);
        assert_eq!(id(None).await, Some(bucket), "{change}");
        assert_eq!(id(Some("local")).await, Some(here), "{change}");
        assert_eq!(id(Some("there")).await, there, "{change}");
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_of_any_archive_makes_the_earlier_ones_suspect() {
    let fixture = Fixture::new().await;
    let server = fixture.server().await;
    let first = fixture.completed(server, None).await;
    fixture.completed(server, None).await;
    assert_eq!(fixture.doubts(server).await, (false, false));
    fixture.verified(first, VerificationState::Passed).await;
    let inconclusive = VerificationState::Inconclusive;
    fixture.verified(first, inconclusive).await;
    assert_eq!(fixture.doubts(server).await, (false, false));
    fixture.verified(first, VerificationState::Failed).await;
    assert_eq!(fixture.doubts(server).await, (true, false));
    // Its deletion does not make the others right.
    let deleted = format!("DELETE FROM backups WHERE id = '{first}'");
    fixture.raw.query(&deleted).await;
    assert_eq!(fixture.doubts(server).await, (true, false));

    let full = fixture.completed(server, None).await;
    assert_eq!(fixture.doubts(server).await, (false, false));
    let missing = format!("UPDATE backups SET missing_since = now() WHERE id = '{full}'");
    fixture.raw.query(&missing).await;
    assert_eq!(fixture.doubts(server).await, (true, false));
    let found = format!("UPDATE backups SET missing_since = NULL WHERE id = '{full}'");
    fixture.raw.query(&found).await;
    assert_eq!(fixture.doubts(server).await, (false, false));
    fixture.verified(full, VerificationState::Failed).await;
    assert_eq!(fixture.doubts(server).await, (true, false));
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_began_is_remembered_until_the_next_backup() {
    let fixture = Fixture::new().await;
    let server = fixture.server().await;
    let backup = fixture.completed(server, None).await;
    let job = fixture.begin_restore(server, backup).await;
    fixture
        .raw
        .query(&format!(
            "UPDATE jobs SET state = 'cancelled', finalized_at = now() WHERE id = {job}"
        ))
        .await;
    assert_eq!(fixture.doubts(server).await, (false, false), "it never ran");

    fixture.begin_restore(server, backup).await;
    let claims = claim_jobs(&fixture.database, "w", super::WorkerSlot::Normal, 9).await;
    let mut transaction = fixture.database.begin().await.unwrap();
    let failed = jobs::discard(&mut transaction, &claims[0], &super::failure()).await;
    assert!(failed.unwrap());
    transaction.commit().await.unwrap();
    fixture.raw.query("DELETE FROM jobs").await;
    assert_eq!(fixture.doubts(server).await, (false, true));

    fixture.completed(server, None).await;
    assert_eq!(fixture.doubts(server).await, (false, false));
    // The barrier of a server goes with it, and does not keep it.
    let server_id = server.0;
    fixture
        .raw
        .query(&format!(
            "DELETE FROM backups; DELETE FROM servers WHERE id = '{server_id}'"
        ))
        .await;
    let left = "SELECT count(*) FROM reuse_barriers";
    assert_eq!(fixture.raw.number(left).await, 0);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_archives_out_of_reach_are_not_all_read() {
    let fixture = Fixture::new().await;
    let server = fixture.server().await;
    let old = fixture.completed(server, None).await;
    let newer = |count: u32| {
        format!(
            "INSERT INTO backups (id, server_id, name, disk, node, state, completed_at, sha256,
                                  size_bytes, archive_attempt)
             SELECT gen_random_uuid(), '{server}', 'b', 'other', 'local', 'completed',
                    now() + interval '1 hour', decode(repeat('00', 32), 'hex'), 1, 1
             FROM generate_series(1, {count})"
        )
    };
    fixture.raw.query(&newer(99)).await;
    let found = fixture.previous(server, Some(node().as_str())).await;
    assert_eq!(found.map(|found| found.id), Some(old));
    fixture.raw.query(&newer(1)).await;
    assert_eq!(fixture.previous(server, None).await, None);
    fixture.end().await;
}
