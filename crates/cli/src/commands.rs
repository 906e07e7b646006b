//! The commands, one in each file.

pub mod admin;
pub mod archive;
mod check_config;
mod demo;
mod healthcheck;
mod migrate;
mod serve;
mod up;
mod worker;

use std::net::SocketAddr;

use crate::args::{Cli, Command, GlobalOptions};
use crate::error::CommandError;
use crate::settings::{Settings, environment};
use crate::telemetry::Telemetry;
use crate::{output, telemetry};

/// Runs a command to its end.
///
/// It is not `async`, so that this library compiles the commands and the binary does not compile
/// them again.
///
/// # Errors
/// The reason that the command failed.
pub fn run(cli: Cli) -> Result<(), CommandError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::new(format!("cannot start the runtime: {error}")))?;
    let result = runtime.block_on(run_command(cli));
    // A blocking thread that hangs on an unavailable disk must not keep the process running.
    runtime.shutdown_background();
    result
}

async fn run_command(cli: Cli) -> Result<(), CommandError> {
    let global = cli.global;
    let data = &global.data;
    match cli.command {
        Command::Demo { keep } => demo::run(keep).await,
        Command::Up { listen } => up::run(load_with_listen(&global, listen)?, data).await,
        Command::Serve { listen } => serve::run(load_with_listen(&global, listen)?, data).await,
        Command::Worker => worker::run(load(&global)?, data).await,
        Command::Migrate { check } => migrate::run(&load(&global)?, data, check).await,
        Command::Healthcheck { url } => healthcheck::run(url, || load(&global)).await,
        Command::Openapi => output::text(&holdfast_api::openapi()),
        Command::CheckConfig => check_config::run(&global),
        Command::Archive { command } => archive::run(command).await,
        Command::Admin { json, command } => admin::run(&load(&global)?, data, json, command).await,
    }
}

fn load(global: &GlobalOptions) -> Result<Settings, CommandError> {
    Ok(Settings::load(&global.config, environment(), &global.data)?)
}

fn load_with_listen(
    global: &GlobalOptions,
    listen: Option<SocketAddr>,
) -> Result<Settings, CommandError> {
    let mut settings = load(global)?;
    settings.http.listen = listen.unwrap_or(settings.http.listen);
    Ok(settings)
}

/// Prints where a service answers. It goes on if nobody can read that.
fn announce(text: &str) {
    if let Err(error) = output::line(text) {
        let error = error.after("the address of the service is only in the log");
        tracing::warn!("{text}: {error}");
    }
}

/// Sets up logging for a long-running command, until the returned value is dropped.
fn init_telemetry(settings: &Settings) -> Result<Telemetry, CommandError> {
    telemetry::init(&settings.log)
}
