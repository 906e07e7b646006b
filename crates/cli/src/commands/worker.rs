//! `holdfast worker`: a worker only.

use std::path::Path;

use crate::failure::Failure;
use crate::settings::Settings;
use crate::{data, database, service, shutdown};

pub(super) async fn run(settings: Settings, data: &Path) -> Result<(), Failure> {
    super::log(&settings)?;
    let data = data::prepare(data)?;
    let database = database::connect(&settings, &data).await?;
    database::check_schema(&database).await?;
    let disks = service::disks(&settings)?;
    let mut worker = service::start_worker(&settings, database.clone(), disks)?;
    tokio::select! {
        stopped = shutdown::requested() => stopped?,
        failure = worker.ended() => return Err(failure),
    }
    worker.stop().await?;
    service::close(&database).await;
    Ok(())
}
