//! Composes API and worker out of settings. `up`, `serve`, `worker`, `demo` and the whole-service
//! tests all come through here.

mod disks;

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use holdfast_api::{
    ApiMetrics, ApiState, JobOutcomes, ListCache, RateLimiter, SizeEstimator, StreamLimits,
    Streams, TokenSigner, TracePropagation,
};
use holdfast_db::Database;
use holdfast_db::backups::BackupPages;
use holdfast_db::jobs::ConcurrencyLimits;
use holdfast_db::request_lookup::RequestLookup;
use holdfast_domain::limit::Throttle;
use holdfast_domain::{DirectoryRules, NodeName};
use holdfast_storage::Disks;
use holdfast_worker::MaintenanceOptions;

use crate::data;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::telemetry::spans;

pub(crate) use disks::shared_disks;
use disks::verify_every;
pub use disks::{disks, open_disks, place_rules};

/// How long connections may take to close at the end.
const CLOSE: Duration = Duration::from_secs(2);

/// Waits until a part that may not be there ends by itself, and says why it did.
pub async fn any_ended(part: Option<&mut ServiceTask>) -> Failure {
    match part {
        Some(part) => part.ended().await,
        None => std::future::pending().await,
    }
}

/// Stops a part that may not be there.
///
/// # Errors
/// Why it had failed.
pub async fn stop_any(part: Option<ServiceTask>) -> Result<(), Failure> {
    match part {
        Some(part) => part.stop().await,
        None => Ok(()),
    }
}

/// Opens a socket to serve on.
///
/// # Errors
/// When the address is taken or not this machine's.
pub fn listen(settings: &Settings) -> Result<TcpListener, Failure> {
    let address = settings.http.listen;
    TcpListener::bind(address).map_err(|error| {
        let advice = "choose another with --listen or http.listen (HOLDFAST__HTTP__LISTEN)";
        Failure::new(format!("cannot listen on {address}: {error}: {advice}"))
    })
}

/// A part of the service that runs: until it is stopped, or fails.
#[derive(Debug)]
pub struct ServiceTask {
    name: &'static str,
    stop: CancellationToken,
    /// `None` once its end was told.
    task: Option<JoinHandle<Result<(), Failure>>>,
}

impl ServiceTask {
    /// Tells the part to stop, and waits until it has.
    ///
    /// # Errors
    /// Why it had failed.
    pub async fn stop(self) -> Result<(), Failure> {
        self.stop.cancel();
        match self.task {
            Some(task) => task.await?,
            None => Ok(()),
        }
    }

    /// Waits until the part ends by itself, which it should not, and says why it did.
    pub async fn ended(&mut self) -> Failure {
        let Some(task) = &mut self.task else {
            return std::future::pending().await;
        };
        let ended = task.await;
        self.task = None;
        match ended {
            Ok(Ok(())) => Failure::new(format!("the {} ended by itself", self.name)),
            Ok(Err(failure)) => failure,
            Err(error) => Failure::of(format!("the {} panicked", self.name), &error),
        }
    }
}

/// What this process's parts count, each in its own, for one registry.
#[derive(Clone, Debug, Default)]
pub struct ProcessMetrics {
    /// What its workers count.
    pub worker: holdfast_worker::WorkerMetrics,
}

impl ProcessMetrics {
    /// What this process shows of itself.
    fn shown(&self, settings: &Settings, database: &Database, disks: &Disks) -> ApiMetrics {
        let allowed = settings.metrics.allowed_networks.clone();
        ApiMetrics::of_process(database, allowed, |registry| {
            self.worker.register(registry);
            disks.register(registry);
        })
    }
}

/// Starts to show what this process counts on an address of its own, where the settings name one.
///
/// # Errors
/// When the address is taken or not this machine's.
pub fn start_metrics(
    settings: &Settings,
    database: &Database,
    disks: &Disks,
    counts: &ProcessMetrics,
) -> Result<Option<ServiceTask>, Failure> {
    let Some(address) = settings.metrics.listen else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address).map_err(|error| {
        let advice = "choose another with metrics.listen (HOLDFAST__METRICS__LISTEN)";
        Failure::new(format!("cannot listen on {address}: {error}: {advice}"))
    })?;
    let metrics = Arc::new(counts.shown(settings, database, disks));
    tracing::info!(address = %listener.local_addr()?, "showing metrics");
    let stop = CancellationToken::new();
    let served = holdfast_api::serve_metrics(listener, metrics, stop.clone());
    let task = tokio::spawn(async move { Ok(served.await?) });
    Ok(Some(ServiceTask {
        name: "address for metrics",
        stop,
        task: Some(task),
    }))
}

/// Starts the API on a socket.
///
/// # Errors
/// When the database can't be listened to, or there is no signing key to be had.
pub async fn start_api(
    settings: &Settings,
    data: &Path,
    database: Database,
    disks: Disks,
    counts: &ProcessMetrics,
    listener: TcpListener,
) -> Result<ServiceTask, Failure> {
    let signing_key = match &settings.auth.signing_key {
        Some(key) => key.expose().as_bytes().to_vec(),
        None => data::signing_key(data)?,
    };
    let previous = settings.auth.previous_signing_keys.iter();
    let previous: Vec<&[u8]> = previous.map(|key| key.expose().as_bytes()).collect();
    let metrics = counts
        .shown(settings, &database, &disks)
        .of_api(&database, settings.metrics.servers);
    let stop = CancellationToken::new();
    let node = NodeName::parse(&settings.worker.node).map_err(Failure::new)?;
    let places = place_rules(settings)?;
    let finals = JobOutcomes::listen(&database, stop.clone()).await?;
    let stream_limits = StreamLimits {
        in_all: settings.http.event_streams,
        by_key: settings.http.event_streams_per_key,
    };
    let state = ApiState {
        streams: Streams::begin(&database, &finals, stream_limits, stop.clone()),
        finals,
        measure: measure(node.clone(), places.clone()),
        limiter: RateLimiter::begin(
            &database,
            settings.http.rate_limit_per_minute,
            Utc::now,
            stop.clone(),
        ),
        visits: RequestLookup::start(&database),
        pages: BackupPages::start(&database),
        lists: ListCache::default(),
        database,
        disks,
        signer: TokenSigner::new(&signing_key, &previous),
        spans: match settings.log.otlp_endpoint {
            Some(_) => TracePropagation {
                adopt: spans::adopt,
                context: spans::context,
            },
            None => TracePropagation {
                adopt: spans::leave,
                context: spans::none,
            },
        },
        options: holdfast_api::ApiOptions {
            public_url: settings.http.public_url.clone(),
            downloads_public_url: settings.downloads.public_url.clone(),
            downloads_accel_path: settings.downloads.accel_path.clone(),
            trusted_proxies: settings.http.trusted_proxies.clone(),
            max_body_bytes: settings.http.max_body_bytes.get(),
            request_timeout: settings.http.request_timeout,
            keep_alive: settings.http.keep_alive,
            max_connections: settings.http.max_connections.get(),
            hsts_seconds: settings.http.hsts_seconds,
            backups_per_server: settings.limits.backups_per_server,
            create_throttle: Throttle {
                count: settings.limits.create_throttle_count,
                seconds: settings.limits.create_throttle_seconds,
            },
            max_ignored_bytes: settings.limits.max_ignored_bytes.get(),
            download_ttl_seconds: u32::try_from(settings.downloads.ttl.as_secs())
                .unwrap_or(u32::MAX),
            max_backup_bytes: settings.limits.max_backup_bytes.get(),
            quota_bytes_per_server: settings.limits.quota_bytes_per_server,
            disk_reserve_bytes: settings.limits.disk_reserve_bytes,
            node,
            places,
        },
        now: Utc::now,
    };
    let served = holdfast_api::serve(listener, Arc::new(state), Arc::new(metrics), stop.clone());
    let task = tokio::spawn(async move { Ok(served.await?) });
    Ok(ServiceTask {
        name: "API",
        stop,
        task: Some(task),
    })
}

/// Measures the servers of this process's own node: only their files can be here.
fn measure(node: NodeName, places: DirectoryRules) -> SizeEstimator {
    Box::new(move |server, patterns| {
        let is_here = server.node == node;
        let places = places.clone();
        Box::pin(async move {
            match is_here {
                true => holdfast_worker::measure(places, server, patterns).await,
                false => None,
            }
        })
    })
}

/// Starts a worker of this node.
///
/// # Errors
/// When its node's name is none.
pub fn start_worker(
    settings: &Settings,
    database: Database,
    disks: Disks,
    counts: &ProcessMetrics,
) -> Result<ServiceTask, Failure> {
    let node = NodeName::parse(&settings.worker.node).map_err(Failure::new)?;
    let options = holdfast_worker::WorkerOptions {
        // Random, so that a worker is never taken for the one that had its process number before.
        worker: format!(
            "{node}-{}-{:08x}",
            std::process::id(),
            rand::random::<u32>()
        ),
        node,
        host: host(),
        downloads_url: downloads_url(settings),
        concurrency: settings.worker.concurrency.get(),
        bounds: ConcurrencyLimits {
            per_node: settings.limits.jobs_per_node,
            per_disk: settings.limits.jobs_per_disk,
            shared_disks: shared_disks(settings)?,
        },
        lease: settings.worker.lease,
        compression_level: settings.worker.compression_level,
        compression_threads: settings.worker.compression_threads.get(),
        read_limit_bytes_per_second: settings.worker.read_limit_bytes_per_second.map(Into::into),
        verify_every: verify_every(settings)?,
        max_backup_bytes: settings.limits.max_backup_bytes.get(),
        staging_dir: settings.worker.staging_dir.clone(),
        power: settings.power.clone(),
        places: place_rules(settings)?,
        keeping: maintenance(settings),
    };
    let context = Arc::new(holdfast_worker::Context {
        database,
        outage: holdfast_worker::Outage::default(),
        disks,
        metrics: counts.worker.clone(),
        adopt: match settings.log.otlp_endpoint {
            Some(_) => spans::adopt,
            None => spans::leave,
        },
        options,
        now: Utc::now,
        jitter: rand::random::<f64>,
    });
    let stop = CancellationToken::new();
    let run = holdfast_worker::run(context, stop.clone());
    let task = tokio::spawn(async move {
        run.await;
        Ok(())
    });
    Ok(ServiceTask {
        name: "worker",
        stop,
        task: Some(task),
    })
}

/// What a worker does without being asked for.
fn maintenance(settings: &Settings) -> MaintenanceOptions {
    let maintenance = &settings.maintenance;
    // The throttle counts jobs.
    let counted = Duration::from_secs(settings.limits.create_throttle_seconds.into());
    MaintenanceOptions {
        policy: settings.retention,
        backups_per_server: settings.limits.backups_per_server,
        interval: maintenance.interval,
        sweep_interval: maintenance.sweep_interval,
        orphan_age: maintenance.orphan_age,
        jobs: maintenance.jobs.max(counted),
        failed_jobs: maintenance.failed_jobs,
        activity: maintenance.activity,
    }
}

/// Where this node's own process is reached for downloads, where the settings say.
fn downloads_url(settings: &Settings) -> Option<String> {
    let url = settings.downloads.public_url.as_ref();
    url.or(settings.http.public_url.as_ref()).cloned()
}

/// The name of this machine, for people's eyes.
pub fn host() -> String {
    let name = fs_err::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "unknown".to_owned(),
        name => name.to_owned(),
    }
}

/// Closes the database's connections, but waits for no stubborn one.
pub async fn close(database: &Database) {
    let _late = tokio::time::timeout(CLOSE, database.close()).await;
}
