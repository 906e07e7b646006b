//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::admin::AdminCommand;
use crate::commands::archive::ArchiveCommand;

/// Backups of game servers that can be restored.
#[derive(Debug, Parser)]
#[command(
    name = "holdfast",
    version,
    about,
    propagate_version = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What is common to all commands.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What is common to all commands.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Settings on top of the defaults (TOML); may be given more than once, later ones win
    #[arg(long, value_name = "FILE", env = "HOLDFAST_CONFIG", global = true)]
    pub config: Vec<PathBuf>,
    /// Folder for everything that is kept on this machine
    #[arg(
        long,
        value_name = "DIR",
        env = "HOLDFAST_DATA",
        default_value = "./holdfast-data",
        global = true
    )]
    pub data: PathBuf,
}

/// What the binary can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the main job, end to end: back up, download, damage and restore a small server
    Demo {
        /// Leave the service running afterwards, and print its URL and key
        #[arg(long)]
        keep: bool,
    },
    /// Run everything in one process: private Postgres (unless database.url is set), API and worker
    Up {
        /// Address to listen on [default: http.listen, 127.0.0.1:8080]
        #[arg(long, value_name = "ADDR")]
        listen: Option<SocketAddr>,
    },
    /// Run the API only
    Serve {
        /// Address to listen on [default: http.listen, 127.0.0.1:8080]
        #[arg(long, value_name = "ADDR")]
        listen: Option<SocketAddr>,
    },
    /// Run a worker only
    Worker,
    /// Bring the database's schema up to date
    Migrate {
        /// Change nothing; exit 0 if the schema is this version's, 3 if migrations have to run, 4 if a newer version
        /// has migrated and this one still works, 5 if this one no longer does, 1 if that can't be found out
        #[arg(long)]
        check: bool,
    },
    /// Exit 0 if the API answers, 1 if not
    Healthcheck {
        /// Where the API is [default: from http.listen]
        #[arg(long, value_name = "URL")]
        url: Option<String>,
    },
    /// Print the OpenAPI 3.1 document of the API
    Openapi,
    /// Say everything that is wrong with the settings
    CheckConfig,
    /// Make, restore, verify and list archives by hand, without a service
    Archive {
        /// What to do.
        #[command(subcommand)]
        command: ArchiveCommand,
    },
    /// Manage users, keys, servers, subusers and webhooks; look at backups and jobs
    Admin {
        /// Print one JSON value and nothing else
        #[arg(long, global = true)]
        json: bool,
        /// What to manage.
        #[command(subcommand)]
        command: AdminCommand,
    },
}
