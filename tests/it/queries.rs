//! The promises of the database functions that requests and workers do not show.

mod backups_of_servers;
mod claims;
mod leases;
mod limits;
mod list_versions;
mod people;
mod plans;
mod previous;
mod schema;
mod stored_totals;

use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use holdfast_db::backups::{self, NewBackup};
use holdfast_db::jobs::{self, Claim, ClaimRequest, ConcurrencyLimits, JobFailure, NewJob};
use holdfast_db::request_lookup::{LookupRequest, RequestContext, RequestLookup};
use holdfast_db::{Database, Listener, Signal};
use holdfast_domain::backup::{BackupNotes, CompletedBackup};
use holdfast_domain::job::WorkerSlot;
use holdfast_domain::key::{ApiKey, KeyIdentifier, KeyKind, KeyToken};
use holdfast_domain::server::ServerLimits;
use holdfast_domain::{
    BackupId, BackupName, DirectorySetBy, DiskName, JobId, JobKind, JobState, NodeName, Profile,
    Server, ServerId, ServerRef, ServerState, UserId,
};

use crate::support::database::TestDatabase;
use crate::support::fixtures;

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
        fixtures::user(&database, owner, "Owner@example.com", false)
            .await
            .unwrap();
        Self {
            raw,
            database,
            owner,
        }
    }

    /// Creates a key of a user.
    async fn key_of(&self, user: UserId) -> KeyIdentifier {
        let random: Vec<u8> = (0..3).flat_map(|_| Uuid::new_v4().into_bytes()).collect();
        let token = KeyToken::generate(KeyKind::Client, random[..43].try_into().unwrap());
        let key = ApiKey {
            identifier: token.identifier().clone(),
            user,
            kind: KeyKind::Client,
            profile: Profile::Documented,
            secret_hash: token.secret_hash(),
            description: String::new(),
            allowed_ips: Vec::new(),
            expires_at: None,
            created_at: chrono::Utc::now(),
        };
        fixtures::key(&self.database, &key).await.unwrap();
        key.identifier
    }

    /// The look-up of a request with this key.
    async fn look_up(
        &self,
        key: &KeyIdentifier,
        server: Option<&ServerRef>,
    ) -> Option<RequestContext> {
        let request = LookupRequest {
            key: key.clone(),
            server: server.cloned(),
            backup: None,
        };
        let lookup = RequestLookup::start(&self.database);
        lookup.find(request).await.unwrap()
    }

    async fn end(self) {
        // A listener that a test still holds keeps its connection.
        holdfast_cli::service::close(&self.database).await;
        self.raw.drop().await;
    }

    fn new_server(&self) -> Server {
        let id = ServerId(Uuid::new_v4());
        Server {
            id,
            owner: Some(self.owner),
            name: "Survival".to_owned(),
            // Each has its own, since no two servers may share a directory.
            directory: format!("/srv/{id}").into(),
            directory_set_by: DirectorySetBy::Admin,
            node: node(),
            disk: None,
            state: ServerState::Normal,
            limits: ServerLimits::default(),
            created_at: chrono::Utc::now(),
            managed_by: None,
            absent_since: None,
        }
    }

    async fn server(&self) -> ServerId {
        let server = self.new_server();
        fixtures::server(&self.database, &server).await.unwrap();
        server.id
    }

    /// A requested backup, with its job.
    async fn backup_of(&self, server: ServerId) -> (BackupId, JobId) {
        let backup = BackupId(Uuid::new_v4());
        let mut transaction = self.database.begin().await.unwrap();
        let new = NewBackup {
            id: backup,
            server,
            name: &BackupName::parse("A backup").unwrap().unwrap(),
            ignored_files: &[],
            disk: &DiskName::parse("local").unwrap(),
            node: &node(),
            reserved_bytes: 0,
            is_locked: true,
            is_full: false,
            created_by: Some(self.owner),
            schedule: None,
            managed_by: None,
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

    /// Claims the only job.
    async fn claim(&self, worker: &str) -> Claim {
        let mut claims = claim_jobs(&self.database, worker, WorkerSlot::Normal, 9).await;
        assert_eq!(claims.len(), 1);
        claims.remove(0)
    }

    /// Expires every lease.
    async fn expire(&self) {
        self.raw
            .query(
                "UPDATE jobs SET lease_expires_at = now() - interval '1 second' \
                WHERE state = 'running'",
            )
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

/// Claims up to `count` jobs of the node `local`, without limits.
async fn claim_jobs(
    database: &Database,
    worker: &str,
    slot: WorkerSlot,
    count: usize,
) -> Vec<Claim> {
    let request = ClaimRequest {
        node: &node(),
        worker,
        lease: LEASE,
        slot,
        count,
        limits: &ConcurrencyLimits::default(),
    };
    jobs::claim(database, &request).await.unwrap()
}

/// The next signal, which must arrive.
async fn next_signal(listener: &mut Listener) -> Signal {
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
        run: None,
    }
}

fn failure() -> JobFailure {
    JobFailure {
        sentence: "It rained.".to_owned(),
        detail: "water in the disk".to_owned(),
    }
}

fn completed(attempt: u32) -> CompletedBackup {
    CompletedBackup {
        at: chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
        sha256: [7; 32],
        size_bytes: 5_000_000_000,
        attempt,
        notes: BackupNotes {
            count: 2,
            first: vec!["world/session.lock: changed while it was read".to_owned()],
        },
        work: None,
    }
}
