//! The binary `holdfast`: reads the command line, runs one command, and returns its exit code.

use std::process::ExitCode;

use clap::Parser;

use holdfast_cli::args::Cli;
use holdfast_cli::{commands, output};

fn main() -> ExitCode {
    match commands::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::problem(&failure.to_string());
            failure.exit_code().into()
        }
    }
}
