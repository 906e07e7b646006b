//! One file a command.

pub mod admin;
pub mod archive;
mod check_config;
mod demo;
mod healthcheck;
mod migrate;
mod serve;
mod up;
mod worker;

use crate::args::{Cli, Command, Global};
use crate::failure::Failure;
use crate::settings::{Settings, environment};
use crate::telemetry::Telemetry;
use crate::{output, telemetry};

/// Runs a command to its end.
///
/// It is not `async`, so that this library compiles the commands and the binary doesn't compile
/// them again.
///
/// # Errors
/// Why the command failed.
pub fn run(cli: Cli) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    let result = runtime.block_on(run_command(cli));
    // A blocking thread that hangs on a dead disk must not hold the process.
    runtime.shutdown_background();
    result
}

async fn run_command(cli: Cli) -> Result<(), Failure> {
    let global = cli.global;
    match cli.command {
        Command::Demo { keep } => demo::run(keep).await,
        Command::Up { listen } => up::run(with_listen(load(&global)?, listen), &global.data).await,
        Command::Serve { listen } => {
            serve::run(with_listen(load(&global)?, listen), &global.data).await
        }
        Command::Worker => worker::run(load(&global)?, &global.data).await,
        Command::Migrate { check } => migrate::run(&load(&global)?, &global.data, check).await,
        Command::Healthcheck { url } => healthcheck::run(url, || load(&global)).await,
        Command::Openapi => {
            output::text(&holdfast_api::openapi());
            Ok(())
        }
        Command::CheckConfig => check_config::run(&global),
        Command::Archive { command } => archive::run(command).await,
        Command::Admin { json, command } => {
            admin::run(&load(&global)?, &global.data, json, command).await
        }
    }
}

fn load(global: &Global) -> Result<Settings, Failure> {
    Ok(Settings::load(&global.config, environment(), &global.data)?)
}

fn with_listen(mut settings: Settings, listen: Option<std::net::SocketAddr>) -> Settings {
    settings.http.listen = listen.unwrap_or(settings.http.listen);
    settings
}

/// Sets up logging for a command that runs on, until what it returns is dropped.
fn log(settings: &Settings) -> Result<Telemetry, Failure> {
    telemetry::init(&settings.log)
}
