//! `holdfast worker`: runs a worker.

use std::path::Path;

use crate::error::CommandError;
use crate::settings::Settings;
use crate::{data, database, service, shutdown};

pub(super) async fn run(settings: Settings, data: &Path) -> Result<(), CommandError> {
    let _telemetry = super::init_telemetry(&settings)?;
    let data = data::prepare(data)?;
    let database = database::connect(&settings, &data).await?;
    database::check_schema(&database).await?;
    let disks = service::open_disks(&settings, &database).await?;
    let process_metrics = service::ProcessMetrics::default();
    let mut metrics = service::start_metrics(&settings, &database, &disks, &process_metrics)?;
    let mut worker = service::start_worker(&settings, database.clone(), disks, &process_metrics);
    super::log_limits();
    tokio::select! {
        stop = shutdown::requested() => stop?,
        error = worker.ended() => return Err(error),
        error = service::any_ended(metrics.as_mut()) => return Err(error),
    }
    worker.stop().await?;
    service::stop_any(metrics).await?;
    service::close(&database).await;
    Ok(())
}
