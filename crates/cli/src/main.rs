//! The binary `holdfast`: reads the command line, runs one command, says how it ended.
// What `commands` awaits is one state machine down to the clients of disks, deeper than the compiler counts by default.
#![recursion_limit = "256"]

use std::process::ExitCode;

use clap::Parser;

use holdfast_cli::args::Cli;
use holdfast_cli::{commands, output};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            output::problem(&format!("cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(commands::run(cli));
    // A blocking thread that hangs on a dead disk must not hold the process.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::problem(&failure.to_string());
            failure.exit_code().into()
        }
    }
}
