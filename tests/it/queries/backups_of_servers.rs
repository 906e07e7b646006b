//! Backups, and the totals of a server.

use futures_util::future::join_all;
use uuid::Uuid;

use holdfast_db::backups::{self, BackupPages, NewBackup, PageRequest};
use holdfast_db::{Error, jobs, servers};
use holdfast_domain::{BackupId, BackupName, DiskName, JobKind, ServerId};

use super::{Fixture, new_job, node};

#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_for_a_servers_lock_sees_its_current_load() {
    let fixture = Fixture::new().await;
    let server = fixture.server().await;
    let mut first = fixture.database.begin().await.unwrap();
    let load = servers::lock(&mut first, server, 600).await.unwrap();
    assert_eq!((load.unfinished, load.backups), (None, 0));
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
            node: &node(),
            reserved_bytes: 0,
            is_locked: false,
            is_full: false,
            created_by: Some(fixture.owner),
            schedule: None,
            managed_by: None,
        };
        backups::insert(&mut first, &new).await.unwrap();
        let job = new_job(JobKind::CreateBackup, server, backup);
        jobs::enqueue(&mut first, &job).await.unwrap();
        first.commit().await.unwrap();
    };
    let (load, ()) = tokio::join!(waiting, creating);
    assert_eq!(
        (load.unfinished, load.backups),
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
    let pages = BackupPages::start(&fixture.database);
    let wanted = PageRequest {
        server: one,
        limit: 25,
        offset: 0,
    };
    let page = pages.find(wanted).await.unwrap();
    assert_eq!(
        (page.total, page.backup_count, page.backups.len()),
        (1, 1, 1)
    );

    let patterns = ["*.log".to_owned()];
    backups::set_ignored_files(&fixture.database, first, &patterns)
        .await
        .unwrap();
    let mut transaction = fixture.database.begin().await.unwrap();
    backups::set_locked(&mut transaction, first, false)
        .await
        .unwrap();
    let found = backups::find_for_update(&mut transaction, one, first)
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
    let page = pages.find(wanted).await.unwrap();
    assert_eq!((page.total, page.backup_count), (1, 0));
    let mut transaction = fixture.database.begin().await.unwrap();
    backups::delete(&mut transaction, first).await.unwrap();
    let gone = backups::find_for_update(&mut transaction, one, first)
        .await
        .unwrap();
    assert_eq!(gone, None);
    transaction.commit().await.unwrap();
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_are_read_at_once_do_not_mix() {
    let fixture = Fixture::new().await;
    let (full, _, _) = fixture.backup().await;
    let empty = fixture.server().await;
    let more =
        "INSERT INTO backups (id, server_id, name, disk, state, failed_at, error, created_at)
                SELECT gen_random_uuid(), s.id, 'b' || n, 'local', 'failed', now(), 'It rained.',
                       now() - n * interval '1 hour'
                FROM servers s, generate_series(1, 60) n WHERE s.id = ";
    fixture.raw.query(&format!("{more} '{}'", full.0)).await;
    let pages = BackupPages::start(&fixture.database);
    let mut wanted = vec![(empty, 25, 0), (ServerId(Uuid::new_v4()), 25, 0)];
    for offset in [0, 1, 25, 50, 61, u64::MAX] {
        wanted.extend([(full, 25, offset), (full, 100, offset), (empty, 1, offset)]);
    }
    let asked = wanted.iter().map(|&(server, limit, offset)| {
        pages.find(PageRequest {
            server,
            limit,
            offset,
        })
    });
    for (page, (server, limit, offset)) in join_all(asked).await.into_iter().zip(&wanted) {
        let page = page.unwrap();
        let total: u64 = if *server == full { 61 } else { 0 };
        assert_eq!((page.total, page.backup_count), (total, total.min(1)));
        let names: Vec<String> = page.backups.into_iter().map(|b| b.name).collect();
        let expected: Vec<String> = (*offset..total)
            .take(*limit as usize)
            .map(|n| {
                if n == 0 {
                    "A backup".to_owned()
                } else {
                    format!("b{n}")
                }
            })
            .collect();
        assert_eq!(names, expected, "{limit} from {offset}");
    }
    fixture.end().await;
}
