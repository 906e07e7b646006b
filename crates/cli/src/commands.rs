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

/// Runs the command that was typed.
///
/// # Errors
/// Why it failed, on one line.
pub async fn run(cli: Cli) -> Result<(), Failure> {
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
