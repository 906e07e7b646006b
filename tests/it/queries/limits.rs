//! Limits on jobs that run at once on a node and with a disk, under races.

use futures_util::future::join_all;
use uuid::Uuid;

use holdfast_db::jobs::{self, Claim, ClaimRequest, ConcurrencyLimits};
use holdfast_domain::job::WorkerSlot;
use holdfast_domain::{BackupId, DiskName, JobKind, NodeName};

use super::{Fixture, LEASE, new_job};

fn limits(per_node: u32, per_disk: u32) -> ConcurrencyLimits {
    ConcurrencyLimits {
        per_node,
        per_disk,
        shared_disks: vec![DiskName::parse("offsite").unwrap()],
    }
}

impl Fixture {
    /// Backups that wait for a worker of `node`, with a disk.
    async fn waiting(&self, count: usize, node: &str, disk: &str) {
        for _ in 0..count {
            let (_, backup, job) = self.backup().await;
            self.raw
                .query(&format!(
                    "UPDATE backups SET disk = '{disk}' WHERE id = '{backup}';
                     UPDATE jobs SET disk = '{disk}', node = '{node}' WHERE id = {job}"
                ))
                .await;
        }
    }

    async fn claimed(&self, node: &str, count: usize, limits: &ConcurrencyLimits) -> Vec<Claim> {
        let node = NodeName::parse(node).unwrap();
        let request = ClaimRequest {
            node: &node,
            worker: "w",
            lease: LEASE,
            slot: WorkerSlot::Normal,
            count,
            limits,
        };
        jobs::claim(&self.database, &request).await.unwrap()
    }

    async fn end_one(&self, claim: &Claim) {
        let mut transaction = self.database.begin().await.unwrap();
        assert!(jobs::complete(&mut transaction, claim).await.unwrap());
        transaction.commit().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_runs_as_many_jobs_as_its_limit() {
    let fixture = Fixture::new().await;
    fixture.waiting(6, "local", "local").await;
    let limits = limits(3, 0);
    // Below the limit, at it, and above it.
    let first = fixture.claimed("local", 2, &limits).await;
    assert_eq!(first.len(), 2);
    assert_eq!(fixture.claimed("local", 9, &limits).await.len(), 1);
    assert_eq!(fixture.claimed("local", 9, &limits).await, []);
    fixture.end_one(&first[0]).await;
    assert_eq!(fixture.claimed("local", 9, &limits).await.len(), 1);
    assert_eq!(fixture.claimed("local", 9, &limits).await, []);
    // Another node has its own limit.
    fixture.waiting(1, "elsewhere", "local").await;
    assert_eq!(fixture.claimed("elsewhere", 9, &limits).await.len(), 1);
    // Deletions are not counted, since they transfer no data.
    let server = fixture.server().await;
    let mut transaction = fixture.database.begin().await.unwrap();
    let deletion = new_job(JobKind::DeleteBackup, server, BackupId(Uuid::new_v4()));
    jobs::enqueue(&mut transaction, &deletion).await.unwrap();
    transaction.commit().await.unwrap();
    let claims = fixture.claimed("local", 9, &limits).await;
    assert_eq!(claims.len(), 1);
    assert_eq!(claims[0].kind, JobKind::DeleteBackup);
    // Without a limit, everything is claimed.
    assert_eq!(
        fixture
            .claimed("local", 9, &ConcurrencyLimits::default())
            .await
            .len(),
        2
    );
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_a_busy_disk_wait_while_others_run() {
    let fixture = Fixture::new().await;
    let limits = limits(0, 2);
    fixture.waiting(4, "local", "offsite").await;
    fixture.waiting(4, "local", "local").await;
    fixture.waiting(3, "elsewhere", "offsite").await;
    fixture.waiting(3, "elsewhere", "local").await;
    let first = fixture.claimed("local", 9, &limits).await;
    assert_eq!(first.len(), 4, "two of each disk");
    // The bucket is one disk for both nodes. The folder is not.
    let there = fixture.claimed("elsewhere", 9, &limits).await;
    assert_eq!(there.len(), 2);
    let offsite = "SELECT count(*) FROM jobs WHERE state = 'running' AND disk = 'offsite'";
    assert_eq!(fixture.raw.number(offsite).await, 2);
    // A worker with one slot takes the oldest job that may be claimed.
    for claim in &first {
        fixture.end_one(claim).await;
    }
    let next = fixture.claimed("local", 1, &limits).await;
    assert_eq!(next.len(), 1);
    let oldest =
        "SELECT min(id) FROM jobs WHERE node = 'local' AND state IN ('available', 'running')";
    assert_eq!(fixture.raw.number(oldest).await, next[0].id.0);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_workers_use_the_whole_limit_and_never_exceed_it() {
    let fixture = Fixture::new().await;
    let limits = limits(3, 2);
    fixture.waiting(12, "local", "local").await;
    fixture.waiting(12, "local", "offsite").await;
    let mut done = 0;
    while done < 24 {
        let asked = (0..6).map(|_| fixture.claimed("local", 2, &limits));
        let claims: Vec<Claim> = join_all(asked).await.into_iter().flatten().collect();
        assert!(claims.len() <= 3, "the node may have three: {claims:?}");
        // Once the folder's jobs have ended, the other disk alone cannot fill the node.
        assert_eq!(claims.len(), if done < 18 { 3 } else { 2 });
        for disk in ["local", "offsite"] {
            let running =
                format!("SELECT count(*) FROM jobs WHERE state = 'running' AND disk = '{disk}'");
            assert!(fixture.raw.number(&running).await <= 2);
        }
        for claim in &claims {
            fixture.end_one(claim).await;
        }
        done += claims.len();
    }
    fixture.end().await;
}
