//! Which database a command uses: the one that is set, or the private cluster of the data folder.

use std::path::Path;

use holdfast_db::{Database, Schema};
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
    let mut options = holdfast_postgres::PostgresOptions::new(folder(data));
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

/// Brings the schema up to date, unless a newer version has taken away what this one needs.
///
/// # Errors
/// When a migration fails, or this version is too old.
pub async fn migrate(database: &Database) -> Result<Schema, Failure> {
    match holdfast_db::migrate(database).await? {
        Schema::TooNew(needed) => Err(too_new(needed)),
        schema => Ok(schema),
    }
}

/// Makes sure that this version can work with the schema, which is somebody else's to bring up to date.
///
/// # Errors
/// When it can't, with what to do.
pub async fn check_schema(database: &Database) -> Result<(), Failure> {
    match holdfast_db::schema(database).await? {
        Schema::Current => Ok(()),
        Schema::Newer(unknown) => {
            let migrations = listed(&unknown);
            tracing::info!(
                migrations,
                "the schema is newer than this version, which works with it"
            );
            Ok(())
        }
        Schema::Behind(missing) => Err(Failure::new(format!(
            "the database has no tables of this version, {} did not run: run `holdfast migrate`",
            listed(&missing)
        ))),
        Schema::TooNew(needed) => Err(too_new(needed)),
    }
}

/// Why this version can't work any more.
pub(crate) fn too_new(needed: i64) -> Failure {
    Failure::new(format!(
        "the schema is too new for this version, which does not know migration {needed}: install the version that has \
         migrated, or restore the database as it was before"
    ))
}

/// Names migrations by their numbers: a few, or the first and how many.
pub(crate) fn listed(migrations: &[i64]) -> String {
    match migrations {
        [one] => format!("migration {one}"),
        [first, .., last] => format!("{} migrations from {first} to {last}", migrations.len()),
        [] => "no migration".to_owned(),
    }
}

async fn open(settings: &Settings, url: &str) -> Result<Database, Failure> {
    check_root_certificate(url)?;
    Database::connect(url, settings.database.max_connections.get())
        .await
        .map_err(|error| Failure::of("the database can't be used", &error))
}

/// Tries the file of certificates that `url` names: the driver would not say which file is missing.
fn check_root_certificate(url: &str) -> Result<(), Failure> {
    let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
    for (key, path) in parameters.split('&').filter_map(|one| one.split_once('=')) {
        // What is escaped, or a certificate itself, is the driver's to read.
        let is_path = !path.contains('%') && !path.starts_with("-----");
        if is_path && matches!(key, "sslrootcert" | "ssl-root-cert" | "ssl-ca") {
            fs_err::File::open(path).map_err(|error| {
                Failure::of("`sslrootcert` of the database URL can't be read", &error)
            })?;
        }
    }
    Ok(())
}
