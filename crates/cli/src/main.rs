//! The binary `holdfast`: parses the command line, runs one command, and reports its error.

use std::process::ExitCode;

use clap::Parser;

use holdfast_cli::args::Cli;
use holdfast_cli::{commands, output};

fn main() -> ExitCode {
    match commands::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::problem(&error.to_string());
            error.exit_code().into()
        }
    }
}
