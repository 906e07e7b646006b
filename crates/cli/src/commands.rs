//! The commands, one in each file.

pub mod admin;
pub mod archive;
mod check_config;
pub mod client;
mod demo;
pub mod generate;
mod healthcheck;
mod migrate;
mod schedule_values;
mod serve;
mod up;
mod worker;

use std::net::SocketAddr;

use clap::CommandFactory as _;
use tokio::runtime::Runtime;

use crate::args::{Cli, Command, GlobalOptions};
use crate::error::CommandError;
use crate::settings::{Settings, environment};
use crate::telemetry::Telemetry;
use crate::{output, process_limits, telemetry, threads};

/// Runs a command to its end.
///
/// It is not `async`, so that this library compiles the commands and the binary does not compile
/// them again.
///
/// # Errors
/// The reason that the command failed.
pub fn run(cli: Cli) -> Result<(), CommandError> {
    process_limits::raise_open_files();
    process_limits::catch_file_size_signal();
    let (global, data) = (&cli.global, &cli.global.data);
    match cli.command {
        Command::Demo { keep } => run_service(demo::run(keep)),
        Command::Up { listen } => {
            run_service(async { up::run(load_with_listen(global, listen)?, data).await })
        }
        Command::Serve { listen } => {
            run_service(async { serve::run(load_with_listen(global, listen)?, data).await })
        }
        Command::Worker => run_service(async { worker::run(load(global)?, data).await }),
        Command::Migrate { check } => {
            run_short(async { migrate::run(&load(global)?, data, check).await })
        }
        Command::Healthcheck { url } => run_short(healthcheck::run(url, || load(global))),
        Command::Openapi => output::text(&holdfast_api::openapi()),
        Command::CheckConfig => check_config::run(global),
        Command::Archive { command } => archive::run(command),
        Command::Client(options) => run_short(client::run(options)),
        Command::Generate { command } => generate::run(command, Cli::command()),
        Command::Admin { json, command } => {
            run_short(async { admin::run(&load(global)?, data, json, command).await })
        }
    }
}

/// Runs a command that runs until it is stopped.
fn run_service(
    command: impl Future<Output = Result<(), CommandError>>,
) -> Result<(), CommandError> {
    block_on(threads::runtime_for_service()?, command)
}

/// Runs a command that ends by itself.
fn run_short(command: impl Future<Output = Result<(), CommandError>>) -> Result<(), CommandError> {
    block_on(threads::runtime_for_command()?, command)
}

fn block_on(
    runtime: Runtime,
    command: impl Future<Output = Result<(), CommandError>>,
) -> Result<(), CommandError> {
    let result = runtime.block_on(command);
    // A blocking thread that hangs on an unavailable disk must not keep the process running.
    runtime.shutdown_background();
    result
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

/// Logs how many files a service may open. Without enough of them, its jobs and requests fail.
fn log_limits() {
    tracing::info!(
        open_files = process_limits::open_files(),
        "the process may have this many files open"
    );
}

/// Prints where a service answers. It goes on if nobody can read that.
fn announce(text: &str) {
    log_limits();
    if let Err(error) = output::line(text) {
        let error = error.after("the address of the service is only in the log");
        tracing::warn!("{text}: {error}");
    }
}

/// Sets up logging for a long-running command, until the returned value is dropped.
fn init_telemetry(settings: &Settings) -> Result<Telemetry, CommandError> {
    telemetry::init(&settings.log)
}
