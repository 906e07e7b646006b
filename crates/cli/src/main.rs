//! The binary `holdfast`: parses the command line, runs one command, and reports its error.

use std::process::ExitCode;

use clap::Parser;

use holdfast_cli::args::Cli;
use holdfast_cli::{commands, output};

fn main() -> ExitCode {
    let result = match Cli::try_parse() {
        Ok(cli) => commands::run(cli),
        Err(usage) => output::usage(&usage),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is_silent() {
                output::problem(&error.to_string());
            }
            error.exit_code().into()
        }
    }
}
