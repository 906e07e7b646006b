//! The database of a command: the one in the settings, or the private cluster of the data folder.

use std::path::Path;

use holdfast_db::{Database, Schema};
use holdfast_postgres::PrivatePostgres;

use crate::error::CommandError;
use crate::settings::Settings;

/// The name of the database in a private cluster.
const DATABASE: &str = "postgres";

/// Returns the folder of the private cluster.
fn cluster_folder(data: &Path) -> std::path::PathBuf {
    data.join("postgres")
}

/// Connects to the database in the settings, or to the private cluster of a running `holdfast up`
/// with this data folder.
///
/// # Errors
/// When there is neither, or the connection fails.
pub async fn connect(settings: &Settings, data: &Path) -> Result<Database, CommandError> {
    if let Some(url) = &settings.database.url {
        return open(settings, url.expose()).await;
    }
    match holdfast_postgres::running(&cluster_folder(data))? {
        Some(address) => open(settings, &address.url(DATABASE)).await,
        None => Err(CommandError::new(format!(
            "no database: start `holdfast up --data {}` first, \
             or set database.url (HOLDFAST__DATABASE__URL)",
            data.display()
        ))),
    }
}

/// Connects to the database in the settings, or starts the private cluster of the data folder. The
/// caller must stop the cluster.
///
/// # Errors
/// When the cluster cannot be started, or the connection fails.
pub async fn connect_or_start(
    settings: &Settings,
    data: &Path,
    durable: bool,
) -> Result<(Database, Option<PrivatePostgres>), CommandError> {
    if settings.database.url.is_some() {
        return Ok((connect(settings, data).await?, None));
    }
    let mut options = holdfast_postgres::PostgresOptions::new(cluster_folder(data));
    options.durable = durable;
    let postgres = PrivatePostgres::start(&options).await?;
    match open(settings, &postgres.url(DATABASE)).await {
        Ok(database) => Ok((database, Some(postgres))),
        Err(error) => {
            postgres.stop().await?;
            Err(error)
        }
    }
}

/// Brings the schema up to date.
///
/// # Errors
/// When a migration fails, or the schema is too new for this version.
pub async fn migrate(database: &Database) -> Result<Schema, CommandError> {
    match holdfast_db::migrate(database).await? {
        Schema::TooNew(needed) => Err(too_new(needed)),
        schema => Ok(schema),
    }
}

/// Checks that this version works with the schema, without changing it.
///
/// # Errors
/// When the schema is behind this version or too new for it; the text says what to do.
pub async fn check_schema(database: &Database) -> Result<(), CommandError> {
    match holdfast_db::schema(database).await? {
        Schema::Current => Ok(()),
        Schema::Newer(unknown) => {
            let migrations = describe_migrations(&unknown);
            tracing::info!(
                migrations,
                "the schema is newer than this version, but compatible"
            );
            Ok(())
        }
        Schema::Behind(missing) => Err(CommandError::new(format!(
            "the schema is older than this version: run `holdfast migrate` to apply {}",
            describe_migrations(&missing)
        ))),
        Schema::TooNew(needed) => Err(too_new(needed)),
    }
}

/// Returns the error for a schema that is too new for this version.
pub(crate) fn too_new(needed: i64) -> CommandError {
    CommandError::new(format!(
        "the schema is too new for this version, which does not know migration {needed}: \
         install a version that has it, or restore a dump of the database from before it"
    ))
}

/// Describes migrations: `migration 3`, or `4 migrations from 3 to 6`.
pub(crate) fn describe_migrations(migrations: &[i64]) -> String {
    match migrations {
        [one] => format!("migration {one}"),
        [first, .., last] => format!("{} migrations from {first} to {last}", migrations.len()),
        [] => "no migration".to_owned(),
    }
}

async fn open(settings: &Settings, url: &str) -> Result<Database, CommandError> {
    check_root_certificate(url)?;
    let unusable = |error| CommandError::with_cause("the database can't be used", &error);
    let connections = settings.database.max_connections.get();
    let database = Database::connect(url, connections)
        .await
        .map_err(unusable)?;
    match holdfast_db::check_server(&database).await {
        Ok(()) => Ok(database),
        Err(error) => {
            database.close().await;
            Err(unusable(error))
        }
    }
}

/// Opens the certificate file that `url` names, because the driver's error does not name it.
fn check_root_certificate(url: &str) -> Result<(), CommandError> {
    let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
    for (key, path) in parameters.split('&').filter_map(|one| one.split_once('=')) {
        // The driver decodes an escaped path; the value may also be a certificate instead of a
        // path.
        let is_path = !path.contains('%') && !path.starts_with("-----");
        if is_path && matches!(key, "sslrootcert" | "ssl-root-cert" | "ssl-ca") {
            fs_err::File::open(path).map_err(|error| {
                CommandError::with_cause("`sslrootcert` of the database URL can't be read", &error)
            })?;
        }
    }
    Ok(())
}
