//! Starts the API, the worker and the metrics endpoint from settings. The commands `up`, `serve`,
//! `worker` and `demo` and the whole-service tests all start them here.

mod disks;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use holdfast_api::{
    ApiMetrics, ApiOptions, ApiState, ContentScans, ListCache, Notifications, PanelAuth,
    RateLimiter, SizeEstimator, Streams, TokenSigner, TracePropagation,
};
use holdfast_db::Database;
use holdfast_db::backups::BackupPages;
use holdfast_db::request_lookup::RequestLookup;
use holdfast_storage::Disks;
use holdfast_worker::SourceCounter;

use crate::data;
use crate::error::CommandError;
use crate::settings::{AuthSettings, LogSettings, Settings};
use crate::telemetry::spans;

pub use disks::{disks, open_disks};

/// How long closing the database connections may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A running part of the service: the API, a worker, or the metrics endpoint.
#[derive(Debug)]
pub struct ServiceTask {
    name: &'static str,
    stop: CancellationToken,
    /// `None` after [`ended`](Self::ended) has returned its result.
    task: Option<JoinHandle<Result<(), CommandError>>>,
}

impl ServiceTask {
    fn spawn(
        name: &'static str,
        stop: CancellationToken,
        run: impl Future<Output = Result<(), CommandError>> + Send + 'static,
    ) -> Self {
        let task = Some(tokio::spawn(run));
        Self { name, stop, task }
    }

    /// Stops the task and waits until it has ended.
    ///
    /// # Errors
    /// The error that the task ended with.
    pub async fn stop(self) -> Result<(), CommandError> {
        self.stop.cancel();
        match self.task {
            Some(task) => task.await?,
            None => Ok(()),
        }
    }

    /// Waits until the task ends by itself, which is always an error, and returns the reason.
    pub async fn ended(&mut self) -> CommandError {
        let Some(task) = &mut self.task else {
            return std::future::pending().await;
        };
        let ended = task.await;
        self.task = None;
        match ended {
            Ok(Ok(())) => CommandError::new(format!("the {} ended unexpectedly", self.name)),
            Ok(Err(error)) => error,
            Err(error) => CommandError::with_cause(format!("the {} panicked", self.name), &error),
        }
    }
}

/// Waits until an optional task ends by itself; see [`ServiceTask::ended`].
pub async fn any_ended(task: Option<&mut ServiceTask>) -> CommandError {
    match task {
        Some(task) => task.ended().await,
        None => std::future::pending().await,
    }
}

/// Stops an optional task.
///
/// # Errors
/// The error that the task ended with.
pub async fn stop_any(task: Option<ServiceTask>) -> Result<(), CommandError> {
    match task {
        Some(task) => task.stop().await,
        None => Ok(()),
    }
}

/// Opens the API's socket.
///
/// # Errors
/// When the address is in use or does not belong to this machine.
pub fn listen(settings: &Settings) -> Result<TcpListener, CommandError> {
    bind(
        settings.http.listen,
        "--listen or http.listen (HOLDFAST__HTTP__LISTEN)",
    )
}

fn bind(address: SocketAddr, setting: &str) -> Result<TcpListener, CommandError> {
    TcpListener::bind(address).map_err(|error| {
        CommandError::new(format!(
            "cannot listen on {address}: {error}: choose another address with {setting}"
        ))
    })
}

/// The metrics of this process's tasks, for one registry.
#[derive(Clone, Debug, Default)]
pub struct ProcessMetrics {
    /// The metrics of its workers.
    pub worker: holdfast_worker::WorkerMetrics,
}

impl ProcessMetrics {
    fn registry(&self, settings: &Settings, database: &Database, disks: &Disks) -> ApiMetrics {
        let allowed = settings.metrics.allowed_networks.clone();
        ApiMetrics::of_process(database, allowed, |registry| {
            self.worker.register(registry);
            disks.register(registry);
        })
    }
}

/// Starts the separate metrics endpoint, if the settings have an address for it.
///
/// # Errors
/// When the address is in use or does not belong to this machine.
pub fn start_metrics(
    settings: &Settings,
    database: &Database,
    disks: &Disks,
    metrics: &ProcessMetrics,
) -> Result<Option<ServiceTask>, CommandError> {
    let Some(address) = settings.metrics.listen else {
        return Ok(None);
    };
    let listener = bind(address, "metrics.listen (HOLDFAST__METRICS__LISTEN)")?;
    tracing::info!(address = %listener.local_addr()?, "serving metrics");
    let metrics = Arc::new(metrics.registry(settings, database, disks));
    let stop = CancellationToken::new();
    let serve = holdfast_api::serve_metrics(listener, metrics, stop.clone());
    let run = async move { Ok(serve.await?) };
    Ok(Some(ServiceTask::spawn("metrics endpoint", stop, run)))
}

/// Starts the API on a socket.
///
/// # Errors
/// When it cannot listen for database notifications, or the signing key cannot be read or created.
pub async fn start_api(
    settings: &Settings,
    data: &Path,
    database: Database,
    disks: Disks,
    metrics: &ProcessMetrics,
    listener: TcpListener,
) -> Result<ServiceTask, CommandError> {
    let stop = CancellationToken::new();
    let signer = token_signer(&settings.auth, data)?;
    disks::warn_of_unreadable_disks(settings, &disks);
    let panel = settings.auth.panel.clone().map(PanelAuth::new);
    let panel = panel.transpose()?;
    let mut metrics = metrics
        .registry(settings, &database, &disks)
        .of_api(&database, settings.metrics.servers);
    if let Some(panel) = &panel {
        metrics = metrics.of_panel_auth(panel);
    }
    let notifications = Notifications::listen(&database, stop.clone()).await?;
    let rate_limit = settings.http.rate_limit_per_minute;
    let state = ApiState {
        streams: Streams::begin(
            &database,
            &notifications,
            settings.http.streams,
            stop.clone(),
        ),
        rate_limiter: RateLimiter::begin(&database, rate_limit, Utc::now, stop.clone()),
        request_lookup: RequestLookup::start(&database),
        backup_pages: BackupPages::start(&database),
        list_cache: ListCache::default(),
        content_scans: ContentScans::default(),
        panel,
        estimate_size: size_estimator(&settings.api),
        trace_propagation: trace_propagation(&settings.log),
        options: settings.api.clone(),
        now: Utc::now,
        notifications,
        signer,
        database,
        disks,
    };
    let (state, metrics) = (Arc::new(state), Arc::new(metrics));
    let serve = holdfast_api::serve(
        listener,
        Arc::clone(&state),
        Arc::clone(&metrics),
        stop.clone(),
    );
    let Some(listener) = listen_for_panel(settings)? else {
        let run = async move { Ok(serve.await?) };
        return Ok(ServiceTask::spawn("API", stop, run));
    };
    tracing::info!(address = %listener.local_addr()?, "answering the panel");
    let serve_node = holdfast_api::serve_node(listener, state, metrics, stop.clone());
    let run = async move {
        tokio::try_join!(serve, serve_node)?;
        Ok(())
    };
    Ok(ServiceTask::spawn("API", stop, run))
}

/// Opens the socket for the requests of the panel, if the settings have an address for it.
fn listen_for_panel(settings: &Settings) -> Result<Option<TcpListener>, CommandError> {
    let address = settings.wings.as_ref().and_then(|wings| wings.listen);
    address
        .map(|address| bind(address, "wings.listen (HOLDFAST__WINGS__LISTEN)"))
        .transpose()
}

/// Returns the signer of download links, with the key of the settings or of the data folder.
fn token_signer(auth: &AuthSettings, data: &Path) -> Result<TokenSigner, CommandError> {
    let key = match &auth.signing_key {
        Some(key) => key.expose().as_bytes().to_vec(),
        None => data::signing_key(data)?,
    };
    let previous = auth.previous_signing_keys.iter();
    let previous: Vec<&[u8]> = previous.map(|key| key.expose().as_bytes()).collect();
    Ok(TokenSigner::new(&key, &previous))
}

/// Returns how requests and jobs share a trace, which is only possible when spans are exported.
fn trace_propagation(log: &LogSettings) -> TracePropagation {
    match log.otlp_endpoint {
        Some(_) => TracePropagation {
            set_parent: spans::set_parent,
            as_parent: spans::as_parent,
        },
        None => TracePropagation {
            set_parent: spans::ignore_parent,
            as_parent: spans::no_parent,
        },
    }
}

/// Returns the estimator of backup sizes. It only measures servers of this process's node, because
/// the files of other servers are on other machines.
fn size_estimator(options: &ApiOptions) -> SizeEstimator {
    let node = options.node.clone();
    let counter = Arc::new(SourceCounter::new(options.directory_rules.clone()));
    Box::new(move |server, patterns| {
        let is_here = server.node == node;
        let counter = Arc::clone(&counter);
        Box::pin(async move {
            match is_here {
                true => counter.count(server, patterns).await,
                false => None,
            }
        })
    })
}

/// Starts a worker.
pub fn start_worker(
    settings: &Settings,
    database: Database,
    disks: Disks,
    metrics: &ProcessMetrics,
) -> ServiceTask {
    let node = &settings.worker.node;
    for warning in settings
        .wings
        .iter()
        .flat_map(|wings| wings.warnings(&settings.storage))
    {
        tracing::warn!("{warning}");
    }
    // The random part prevents confusion with an earlier worker that had the same process ID.
    let (pid, random) = (std::process::id(), rand::random::<u32>());
    let context = Arc::new(holdfast_worker::Context {
        worker: format!("{node}-{pid}-{random:08x}"),
        host: host(),
        database,
        database_health: holdfast_worker::DatabaseHealth::default(),
        directory_checks: holdfast_worker::DirectoryChecks::default(),
        session_weight: holdfast_worker::SessionWeight::default(),
        disks,
        metrics: metrics.worker.clone(),
        set_trace_parent: trace_propagation(&settings.log).set_parent,
        options: settings.worker.clone(),
        now: Utc::now,
        jitter: rand::random::<f64>,
    });
    let stop = CancellationToken::new();
    let worker = holdfast_worker::run(context, stop.clone());
    let run = async move {
        worker.await;
        Ok(())
    };
    ServiceTask::spawn("worker", stop, run)
}

/// Returns the host name of this machine, for display.
pub fn host() -> String {
    let name = fs_err::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "unknown".to_owned(),
        name => name.to_owned(),
    }
}

/// Closes the database connections, for at most 2 seconds.
pub async fn close(database: &Database) {
    let _timed_out = tokio::time::timeout(CLOSE_TIMEOUT, database.close()).await;
}
