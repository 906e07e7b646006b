//! A private PostgreSQL cluster: finds or downloads the programs, creates the cluster, starts and
//! stops it.
//!
//! `holdfast up`, `holdfast demo`, the tests and `scripts/sqlx-prepare` start their database here.
//! The crate contains no queries of Holdfast and no `query!`, so that it compiles without a
//! database: `scripts/sqlx-prepare` starts the database that those queries are checked against.
//!
//! These properties always hold:
//!
//! - Postgres listens on a Unix socket in the cluster's folder (mode 0700), never on the network.
//! - It never runs as root. If this process is root, Postgres runs as `postgres`, or as `nobody`.
//! - It never outlives the process that started it, not even after `kill -9`: a shell script holds
//!   a pipe from that process, and shuts Postgres down when the pipe closes (see
//!   [`PrivatePostgres`]).
//! - A cluster is either complete or absent: `initdb` creates it under a temporary name.
//! - Only a postmaster of the cluster's own folder is ever signalled.
//!
//! A supervisor that signals all processes of a service at once (systemd's default
//! `KillMode=control-group`) stops Postgres before the service has drained: use `KillMode=mixed`.

mod address;
mod binaries;
mod child;
mod cluster;
mod connection;
#[cfg(feature = "test-containers")]
mod container;
mod download;
mod error;
mod folder;
mod log;
mod ownership;
mod postmaster;
mod user;

use std::path::PathBuf;

pub use address::Address;
pub use cluster::PrivatePostgres;
#[cfg(feature = "test-containers")]
pub use container::ContainedPostgres;
pub use error::Error;
pub use ownership::running;

/// The location and durability of a private cluster.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// The cluster's own folder, such as `DATA/postgres`; created if it is missing.
    pub directory: PathBuf,
    /// Whether committed data survives a power failure. `false` turns `fsync`,
    /// `synchronous_commit` and `full_page_writes` off, for tests and demonstrations.
    pub durable: bool,
    /// The folder of `initdb` and `postgres`; `None` to search for it.
    pub binaries: Option<PathBuf>,
}

impl PostgresOptions {
    /// Returns the options of a durable cluster in `directory`, without a folder of binaries.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            durable: true,
            binaries: None,
        }
    }
}
