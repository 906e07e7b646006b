//! Which database a command uses: the one that is set, or the private cluster of the data folder.

use std::path::Path;

use holdfast_db::Database;
use holdfast_postgres::PrivatePostgres;

use crate::failure::Failure;
use crate::settings::Settings;

/// The database in a private cluster.
const DATABASE: &str = "postgres";

/// Says where the private cluster of a data folder lives.
fn folder(data: &Path) -> std::path::PathBuf {
    data.join("postgres")
}

/// Connects to the database that is set, or to the private cluster that some `holdfast up` runs on
/// `data` right now.
///
/// # Errors
/// When there is neither, or nobody answers.
pub async fn connect(settings: &Settings, data: &Path) -> Result<Database, Failure> {
    if let Some(url) = &settings.database.url {
        return open(settings, url.expose()).await;
    }
    match holdfast_postgres::running(&folder(data))? {
        Some(address) => open(settings, &address.url(DATABASE)).await,
        None => Err(Failure::new(format!(
            "no database: start `holdfast up --data {}` first, or set database.url (HOLDFAST__DATABASE__URL)",
            data.display()
        ))),
    }
}

/// Connects to the database that is set, or starts the private cluster of `data`, which the caller
/// has to stop.
///
/// # Errors
/// When it can't be started, or nobody answers.
pub async fn connect_or_start(
    settings: &Settings,
    data: &Path,
    durable: bool,
) -> Result<(Database, Option<PrivatePostgres>), Failure> {
    if settings.database.url.is_some() {
        return Ok((connect(settings, data).await?, None));
    }
    let mut options = holdfast_postgres::Options::new(folder(data));
    options.durable = durable;
    let postgres = PrivatePostgres::start(&options).await?;
    match open(settings, &postgres.url(DATABASE)).await {
        Ok(database) => Ok((database, Some(postgres))),
        Err(failure) => {
            postgres.stop().await?;
            Err(failure)
        }
    }
}

async fn open(settings: &Settings, url: &str) -> Result<Database, Failure> {
    Database::connect(url, settings.database.max_connections.get())
        .await
        .map_err(|error| Failure::of("the database can't be used", &error))
}
