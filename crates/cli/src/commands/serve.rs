//! `holdfast serve`: the API only.

use std::path::Path;

use crate::failure::Failure;
use crate::settings::Settings;
use crate::{data, database, output, service, shutdown};

pub(super) async fn run(settings: Settings, data: &Path) -> Result<(), Failure> {
    let _telemetry = super::log(&settings)?;
    let listener = service::listen(&settings)?;
    let address = listener.local_addr()?;
    let data = data::prepare(data)?;
    let database = database::connect(&settings, &data).await?;
    database::check_schema(&database).await?;
    let disks = service::open_disks(&settings, &database).await?;
    let counts = service::ProcessMetrics::default();
    let mut metrics = service::start_metrics(&settings, &database, &disks, &counts)?;
    let mut api =
        service::start_api(&settings, &data, database.clone(), disks, &counts, listener).await?;
    output::line(&format!("Holdfast's API answers at http://{address}"));
    tokio::select! {
        stopped = shutdown::requested() => stopped?,
        failure = api.ended() => return Err(failure),
        failure = service::any_ended(metrics.as_mut()) => return Err(failure),
    }
    api.stop().await?;
    service::stop_any(metrics).await?;
    service::close(&database).await;
    Ok(())
}
