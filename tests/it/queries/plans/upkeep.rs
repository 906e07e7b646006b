//! The queries of maintenance and of limited claims never read a whole table.

use std::time::Duration;

use holdfast_db::jobs::{self, ClaimRequest, ConcurrencyLimits};
use holdfast_db::maintenance::{self, BackupOnDisk};
use holdfast_db::{backups, retention, servers};
use holdfast_domain::job::WorkerSlot;
use holdfast_domain::{BackupId, DiskName, ServerId};

use super::super::LEASE;
use super::{node, walks_an_index};
use crate::support::database::TestDatabase;

/// The queries that maintenance repeats, page by page.
pub(super) async fn maintenance_walks_indexes(
    raw: &TestDatabase,
    server: ServerId,
    backup: BackupId,
) {
    let disk = DiskName::parse("local").unwrap();
    let seen = BackupOnDisk { server, backup };
    walks_an_index(raw, "a claim within limits", async |database| {
        let limits = ConcurrencyLimits {
            per_node: 1000,
            per_disk: 1000,
            shared_disks: vec![disk.clone()],
        };
        let request = ClaimRequest {
            node: &node(),
            worker: "w",
            lease: LEASE,
            slot: WorkerSlot::Normal,
            count: 5,
            limits: &limits,
        };
        jobs::claim(database, &request).await.unwrap();
    })
    .await;
    walks_an_index(raw, "the archive that a backup reuses", async |database| {
        let new = backups::find(database, server, backup).await;
        let new = new.unwrap().unwrap();
        for disk_node in [None, Some(&node())] {
            let found = backups::find_previous(database, &new, disk_node).await;
            assert!(found.unwrap().is_some());
        }
    })
    .await;
    walks_an_index(raw, "a page of retention", async |database| {
        let page = retention::list_servers(database, None, 200).await.unwrap();
        assert_eq!(page.len(), 200);
        let servers: Vec<ServerId> = page.iter().map(|server| server.id).collect();
        let held = retention::list_backups(database, &servers[..100])
            .await
            .unwrap();
        assert!(held.len() >= 490);
    })
    .await;
    walks_an_index(raw, "the servers of a node", async |database| {
        let page = servers::on_node(database, &node(), None, 100)
            .await
            .unwrap();
        let (_, last, _) = page.last().unwrap();
        let next = servers::on_node(database, &node(), Some(last), 100).await;
        assert_eq!((page.len(), next.unwrap().len()), (100, 100));
    })
    .await;
    walks_an_index(raw, "a page of a sweep", async |database| {
        let found = maintenance::find_records(database, &disk, None, &[seen; 200]).await;
        assert_eq!(found.unwrap().len(), 200);
        let now = maintenance::now(database).await.unwrap();
        let node = node();
        let page = maintenance::list_archives(database, &disk, Some(&node), Some(seen), None, now);
        page.await.unwrap();
        maintenance::mark_missing(database, &[backup])
            .await
            .unwrap();
        maintenance::mark_found(database, &[backup]).await.unwrap();
    })
    .await;
    walks_an_index(raw, "pruning", async |database| {
        let (week, month) = (Duration::from_secs(604_800), Duration::from_secs(2_592_000));
        assert_eq!(
            maintenance::prune_jobs(database, week, month)
                .await
                .unwrap(),
            0
        );
        assert_eq!(
            maintenance::prune_activity(database, month).await.unwrap(),
            0
        );
    })
    .await;
}
