//! Runs a command with its own PostgreSQL:
//! `with-postgres DIR [--durable] [--apply FOLDER] -- COMMAND…`
//!
//! It starts a cluster in `DIR`, applies the `.sql` files of `FOLDER` in the order of their names,
//! runs the command with `DATABASE_URL` set, stops the cluster, and exits with the command's exit
//! code.
#![expect(clippy::print_stderr, reason = "a command reports errors on stderr")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use holdfast_postgres::{PostgresOptions, PrivatePostgres};

const USAGE: &str = "usage: with-postgres DIR [--durable] [--apply FOLDER] -- COMMAND…";

#[tokio::main]
async fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()).await {
        Ok(code) => code,
        Err(error) => {
            eprint!("with-postgres: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprint!(": {error}");
                cause = error.source();
            }
            eprintln!();
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Vec<String>) -> Result<ExitCode, Box<dyn Error>> {
    let at = arguments
        .iter()
        .position(|argument| argument == "--")
        .ok_or(USAGE)?;
    let (options, command) = (&arguments[..at], &arguments[at + 1..]);
    let (directory, options) = options.split_first().ok_or(USAGE)?;
    let (durable, options) = match options {
        [durable, rest @ ..] if durable == "--durable" => (true, rest),
        rest => (false, rest),
    };
    let migrations = match options {
        [] => None,
        [apply, folder] if apply == "--apply" => Some(Path::new(folder)),
        _ => return Err(USAGE.into()),
    };
    let (program, arguments) = command.split_first().ok_or(USAGE)?;
    let options = PostgresOptions {
        durable,
        ..PostgresOptions::new(directory)
    };
    let postgres = PrivatePostgres::start(&options).await?;
    let outcome = async {
        if let Some(folder) = migrations {
            apply(&postgres, folder).await?;
        }
        let mut command = tokio::process::Command::new(program);
        command
            .args(arguments)
            .env("DATABASE_URL", postgres.url("postgres"));
        let status = command
            .status()
            .await
            .map_err(|error| format!("cannot run {program}: {error}"))?;
        Ok::<_, Box<dyn Error>>(status)
    }
    .await;
    postgres.stop().await?;
    let code = outcome?.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

async fn apply(postgres: &PrivatePostgres, folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut files = Vec::new();
    if folder.exists() {
        for entry in fs_err::read_dir(folder)? {
            files.push(entry?.path());
        }
    }
    files.retain(|path: &PathBuf| path.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    for file in files {
        let statements = fs_err::read_to_string(&file)?;
        let applied = postgres.query("postgres", &statements).await;
        applied.map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}
