//! `holdfast up`: everything in one process.

use std::path::Path;

use holdfast_postgres::PrivatePostgres;

use crate::data::{self, DataLock};
use crate::failure::Failure;
use crate::settings::Settings;
use crate::{database, output, service, shutdown};

pub(super) async fn run(settings: Settings, data: &Path) -> Result<(), Failure> {
    let _telemetry = super::log(&settings)?;
    // What is likely to fail comes before anything is made.
    let listener = service::listen(&settings)?;
    let address = listener.local_addr()?;
    let data = data::prepare(data)?;
    let _held = DataLock::take(&data)?;
    let (database, mut postgres) = database::connect_or_start(&settings, &data, true).await?;

    let outcome = async {
        database::migrate(&database).await?;
        let disks = service::open_disks(&settings, &database).await?;
        let counts = service::ProcessMetrics::default();
        let mut metrics = service::start_metrics(&settings, &database, &disks, &counts)?;
        let mut api = service::start_api(
            &settings,
            &data,
            database.clone(),
            disks.clone(),
            &counts,
            listener,
        )
        .await?;
        let mut worker = service::start_worker(&settings, database.clone(), disks, &counts)?;
        output::line(&format!("Holdfast answers at http://{address}"));
        let ended = tokio::select! {
            stopped = shutdown::requested() => stopped,
            failure = api.ended() => Err(failure),
            failure = worker.ended() => Err(failure),
            failure = service::any_ended(metrics.as_mut()) => Err(failure),
            failure = postgres_ended(postgres.as_mut()) => Err(failure),
        };
        tracing::info!("stopping");
        // The worker first: what it gives back is seen while the API still answers.
        let worker = worker.stop().await;
        let api = api.stop().await;
        let metrics = service::stop_any(metrics).await;
        ended.and(worker).and(api).and(metrics)
    }
    .await;

    service::close(&database).await;
    let stopped = match postgres {
        Some(postgres) => postgres.stop().await.map_err(Failure::from),
        None => Ok(()),
    };
    outcome.and(stopped)
}

async fn postgres_ended(postgres: Option<&mut PrivatePostgres>) -> Failure {
    match postgres {
        Some(postgres) => postgres.ended().await.into(),
        None => std::future::pending().await,
    }
}
