//! `holdfast worker`: a worker only.

use std::path::Path;

use crate::failure::Failure;
use crate::settings::Settings;
use crate::{data, database, service, shutdown};

pub(super) async fn run(settings: Settings, data: &Path) -> Result<(), Failure> {
    let _telemetry = super::log(&settings)?;
    let data = data::prepare(data)?;
    let database = database::connect(&settings, &data).await?;
    database::check_schema(&database).await?;
    let disks = service::open_disks(&settings, &database).await?;
    let counts = service::ProcessMetrics::default();
    let mut metrics = service::start_metrics(&settings, &database, &disks, &counts)?;
    let mut worker = service::start_worker(&settings, database.clone(), disks, &counts)?;
    tokio::select! {
        stopped = shutdown::requested() => stopped?,
        failure = worker.ended() => return Err(failure),
        failure = service::any_ended(metrics.as_mut()) => return Err(failure),
    }
    worker.stop().await?;
    service::stop_any(metrics).await?;
    service::close(&database).await;
    Ok(())
}
