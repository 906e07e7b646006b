//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::admin::AdminCommand;
use crate::commands::archive::ArchiveCommand;
use crate::commands::client::ClientOptions;
use crate::commands::generate::GenerateCommand;

/// Backup service for game servers.
#[derive(Debug, Parser)]
#[command(
    name = "holdfast",
    version,
    about,
    propagate_version = true,
    max_term_width = 100
)]
pub struct Cli {
    /// The options of all commands.
    #[command(flatten)]
    pub global: GlobalOptions,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The options of all commands.
#[derive(Clone, Debug, Args)]
pub struct GlobalOptions {
    /// Settings file (TOML) that overrides the defaults; repeatable, later files win
    #[arg(long, value_name = "FILE", env = "HOLDFAST_CONFIG", global = true)]
    pub config: Vec<PathBuf>,
    /// Data folder of the service on this machine
    #[arg(
        long,
        value_name = "DIR",
        env = "HOLDFAST_DATA",
        default_value = "./holdfast-data",
        global = true
    )]
    pub data: PathBuf,
}

/// The commands of the binary.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Backs up, downloads, damages and restores a small server, and prints each step
    Demo {
        /// Keeps the service running afterwards, and prints its URL and API key
        #[arg(long)]
        keep: bool,
    },
    /// Runs the API, a worker and, unless database.url is set, a private PostgreSQL in one process
    Up {
        /// Address and port to listen on [default: http.listen, 127.0.0.1:8080]
        #[arg(long, value_name = "ADDR")]
        listen: Option<SocketAddr>,
    },
    /// Runs the API
    Serve {
        /// Address and port to listen on [default: http.listen, 127.0.0.1:8080]
        #[arg(long, value_name = "ADDR")]
        listen: Option<SocketAddr>,
    },
    /// Runs a worker
    Worker,
    /// Brings the database schema up to date
    Migrate {
        /// Only checks the schema, and changes nothing. Exit code 0: up to date; 3: migrations are
        /// missing; 4: the schema is newer, but compatible; 5: the schema is too new for this
        /// version; 1: the check failed
        #[arg(long)]
        check: bool,
    },
    /// Asks the API for its health: exit code 0 if it is healthy, otherwise 1
    Healthcheck {
        /// URL of the API [default: from http.listen]
        #[arg(long, value_name = "URL")]
        url: Option<String>,
    },
    /// Prints the OpenAPI 3.1 document of the API
    Openapi,
    /// Checks the settings, and prints every problem
    CheckConfig,
    /// Creates, restores, verifies and lists archives without a service
    Archive {
        /// The subcommand.
        #[command(subcommand)]
        command: ArchiveCommand,
    },
    /// Uses a service by its API: creates, downloads, restores and compares backups, and manages
    /// schedules
    Client(ClientOptions),
    /// Generates completions for shells, and manual pages
    Generate {
        /// The subcommand.
        #[command(subcommand)]
        command: GenerateCommand,
    },
    /// Manages users, API keys, servers, subusers, schedules and webhooks; lists backups and jobs
    Admin {
        /// Prints the result as one JSON value
        #[arg(long, global = true)]
        json: bool,
        /// The subcommand.
        #[command(subcommand)]
        command: AdminCommand,
    },
}
