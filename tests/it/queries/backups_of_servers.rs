//! Backups, and what a server already has of them.

use uuid::Uuid;

use holdfast_db::backups::{self, NewBackup};
use holdfast_db::{Error, jobs, servers};
use holdfast_domain::{BackupId, BackupName, DiskName, JobKind, ServerId};

use super::{Fixture, new_job};

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
