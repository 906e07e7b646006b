//! Measures how fast jobs are claimed with few and with many waiting jobs: `bench-queue ROUNDS`.
//! `DATABASE_URL` must name a cluster in which it may create databases. See `scripts/bench-queue`.
#![expect(clippy::print_stdout, reason = "a measurement is printed")]

use std::error::Error;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, PgPool};

use holdfast_db::Database;
use holdfast_db::jobs::{self, Claim, ClaimRequest, ConcurrencyLimits};
use holdfast_domain::NodeName;
use holdfast_domain::job::WorkerSlot;

/// How many jobs wait.
const WAITING: [usize; 2] = [1_000, 100_000];
/// How many jobs are claimed in one measurement.
const CLAIMED: usize = 600;
/// How many workers claim at the same time.
const WORKERS: usize = 4;
/// How many jobs a worker claims at a time, as set by `worker.concurrency`.
const AT_ONCE: usize = 2;
const LEASE: Duration = Duration::from_secs(600);
const NODE: &str = "local";

/// A database with a number of waiting jobs.
struct Queue {
    database: Database,
    raw: PgPool,
    waiting: usize,
    claims_per_second: Vec<f64>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("DATABASE_URL")?;
    let rounds: usize = std::env::args().nth(1).map_or(Ok(7), |n| n.parse())?;
    let mut queues = Vec::new();
    for waiting in WAITING {
        queues.push(Queue::make(&url, waiting).await?);
    }
    // The first round warms up.
    for round in 0..=rounds {
        for queue in &mut queues {
            let speed = queue.measure().await?;
            println!(
                "round {round}: {:6} waiting, {speed:6.0} claims/s",
                queue.waiting
            );
            if round > 0 {
                queue.claims_per_second.push(speed);
            }
        }
    }
    let [few, many] = [0, 1].map(|n| median(&mut queues[n].claims_per_second));
    println!(
        "median of {rounds}: {few:.0} claims/s with {} waiting, {many:.0} with {}: ratio {:.2}",
        WAITING[0],
        WAITING[1],
        many / few
    );
    Ok(())
}

impl Queue {
    async fn make(url: &str, waiting: usize) -> Result<Self, Box<dyn Error>> {
        let name = format!("queue_{waiting}");
        let create = format!("CREATE DATABASE {name}");
        let cluster = PgPool::connect(url).await?;
        sqlx::query(AssertSqlSafe(create)).execute(&cluster).await?;
        cluster.close().await;
        let url = url.replace("/postgres?", &format!("/{name}?"));
        let database = Database::connect(&url, 8).await?;
        holdfast_db::migrate(&database).await?;
        let raw = PgPool::connect(&url).await?;
        sqlx::query(
            "INSERT INTO users (id, email)
             VALUES ('00000000-0000-4000-8000-000000000000', 'owner@example.com')",
        )
        .execute(&raw)
        .await?;
        sqlx::query(
            "INSERT INTO servers (id, owner_id, name, directory, node)
             SELECT (lpad(to_hex(s), 8, '0') || '-0000-4000-8000-000000000000')::uuid,
                    '00000000-0000-4000-8000-000000000000', 'Server ' || s, '/srv/' || s, $2
             FROM generate_series(1, $1) s",
        )
        .bind(i32::try_from(waiting + CLAIMED)?)
        .bind(NODE)
        .execute(&raw)
        .await?;
        let queue = Self {
            database,
            raw,
            waiting,
            claims_per_second: Vec::new(),
        };
        queue.fill().await?;
        Ok(queue)
    }

    /// Enqueues backups of servers without a job, up to the number of waiting jobs.
    async fn fill(&self) -> Result<(), Box<dyn Error>> {
        sqlx::query(
            "WITH idle AS (
                SELECT id, gen_random_uuid() AS backup FROM servers s
                WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE server_id = s.id AND state = 'available')
                LIMIT $1 - (SELECT count(*) FROM jobs WHERE state = 'available')
            ), inserted AS (
                INSERT INTO backups (id, server_id, name, disk)
                SELECT backup, id, 'Backup', 'local' FROM idle
            )
            INSERT INTO jobs (kind, server_id, backup_id, node)
            SELECT 'create_backup', id, backup, $2 FROM idle",
        )
        .bind(i64::try_from(self.waiting)?)
        .bind(NODE)
        .execute(&self.raw)
        .await?;
        sqlx::query("VACUUM ANALYZE jobs")
            .execute(&self.raw)
            .await?;
        Ok(())
    }

    /// Returns how many jobs a second the workers claim together, and completes those jobs.
    async fn measure(&self) -> Result<f64, Box<dyn Error>> {
        self.fill().await?;
        let node = NodeName::parse(NODE)?;
        let begun = Instant::now();
        let workers: Vec<_> = (0..WORKERS)
            .map(|number| tokio::spawn(claim(self.database.clone(), node.clone(), number)))
            .collect();
        let mut claims = Vec::new();
        for worker in workers {
            claims.extend(worker.await??);
        }
        let speed = claims.len() as f64 / begun.elapsed().as_secs_f64();
        for claim in &claims {
            let mut transaction = self.database.begin().await?;
            jobs::complete(&mut transaction, claim).await?;
            transaction.commit().await?;
        }
        Ok(speed)
    }
}

/// Claims the share of one worker.
async fn claim(
    database: Database,
    node: NodeName,
    number: usize,
) -> Result<Vec<Claim>, holdfast_db::Error> {
    let worker = format!("worker-{number}");
    let mut claims = Vec::new();
    let request = ClaimRequest {
        node: &node,
        worker: &worker,
        lease: LEASE,
        slot: WorkerSlot::Normal,
        count: AT_ONCE,
        limits: &ConcurrencyLimits::default(),
    };
    while claims.len() < CLAIMED / WORKERS {
        claims.extend(jobs::claim(&database, &request).await?);
    }
    Ok(claims)
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
