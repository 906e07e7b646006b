//! `holdfast up`: runs a private Postgres, the API and a worker in one process.

use std::path::Path;
use std::time::{Duration, Instant};

use holdfast_domain::error_chain::chain;
use holdfast_postgres::PrivatePostgres;

use crate::data::{self, DataLock};
use crate::error::CommandError;
use crate::settings::Settings;
use crate::{database, service, shutdown};

/// How often the private Postgres is started again within [`RESTART_PERIOD`].
const RESTARTS_MAX: usize = 5;
const RESTART_PERIOD: Duration = Duration::from_mins(10);

pub(super) async fn run(settings: Settings, data: &Path) -> Result<(), CommandError> {
    let _telemetry = super::init_telemetry(&settings)?;
    // The socket is opened before anything is created, because its address is often in use.
    let listener = service::listen(&settings)?;
    let address = listener.local_addr()?;
    let data = data::prepare(data)?;
    let _lock = DataLock::acquire(&data)?;
    let (database, mut postgres) = database::connect_or_start(&settings, &data, true).await?;

    let outcome = async {
        database::migrate(&database).await?;
        let disks = service::open_disks(&settings, &database).await?;
        let process_metrics = service::ProcessMetrics::default();
        let mut metrics = service::start_metrics(&settings, &database, &disks, &process_metrics)?;
        let mut api = service::start_api(
            &settings,
            &data,
            database.clone(),
            disks.clone(),
            &process_metrics,
            listener,
        )
        .await?;
        let mut worker =
            service::start_worker(&settings, database.clone(), disks, &process_metrics);
        super::announce(&format!("Holdfast answers at http://{address}"));
        let ended = tokio::select! {
            stop = shutdown::requested() => stop,
            error = api.ended() => Err(error),
            error = worker.ended() => Err(error),
            error = service::any_ended(metrics.as_mut()) => Err(error),
            error = keep_running(postgres.as_mut()) => Err(error),
        };
        tracing::info!("stopping");
        // The worker stops first, so that the API still shows the jobs that it returns to the
        // queue.
        let worker = worker.stop().await;
        let api = api.stop().await;
        let metrics = service::stop_any(metrics).await;
        ended.and(worker).and(api).and(metrics)
    }
    .await;

    service::close(&database).await;
    let postgres = match postgres {
        Some(postgres) => postgres.stop().await.map_err(CommandError::from),
        None => Ok(()),
    };
    outcome.and(postgres)
}

/// Starts the private Postgres again when it ends unexpectedly. Meanwhile the API answers 503, and
/// jobs wait. Returns the error when it ends too often, or does not start.
async fn keep_running(postgres: Option<&mut PrivatePostgres>) -> CommandError {
    let Some(postgres) = postgres else {
        return std::future::pending().await;
    };
    let mut restarts: Vec<Instant> = Vec::new();
    loop {
        let ended = postgres.ended().await;
        restarts.retain(|at| at.elapsed() < RESTART_PERIOD);
        if restarts.len() >= RESTARTS_MAX {
            return ended.into();
        }
        restarts.push(Instant::now());
        tracing::error!(error = chain(&ended), "PostgreSQL is started again");
        if let Err(error) = postgres.restart().await {
            return error.into();
        }
        tracing::info!("PostgreSQL accepts connections again");
    }
}
