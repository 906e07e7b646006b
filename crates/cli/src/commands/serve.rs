//! `holdfast serve`: the API only.

use std::path::Path;

use crate::failure::Failure;
use crate::settings::Settings;
use crate::{data, database, output, service, shutdown};

pub(super) async fn run(settings: Settings, data: &Path) -> Result<(), Failure> {
    super::log(&settings)?;
    let listener = service::listen(&settings)?;
    let address = listener.local_addr()?;
    let data = data::prepare(data)?;
    let database = database::connect(&settings, &data).await?;
    database::check_schema(&database).await?;
    let disks = service::disks(&settings)?;
    let mut api = service::start_api(&settings, &data, database.clone(), disks, listener).await?;
    output::line(&format!("Holdfast's API answers at http://{address}"));
    tokio::select! {
        stopped = shutdown::requested() => stopped?,
        failure = api.ended() => return Err(failure),
    }
    api.stop().await?;
    service::close(&database).await;
    Ok(())
}
