//! A private PostgreSQL cluster: found or fetched, started, stopped.
//!
//! `holdfast up`, `holdfast demo`, every test and `scripts/sqlx-prepare` start their database here
//! and nowhere else. The crate knows nothing of what is stored in it: no SQL of Holdfast, no sqlx,
//! so that it compiles before any crate whose queries are checked against a live database.
//!
//! What holds, whatever happens:
//!
//! - Postgres listens on a Unix socket inside the cluster's folder (mode 0700), never on the network.
//! - It never runs as root: started as root it runs as `postgres`, or `nobody` where there is none.
//! - It never outlives the process that started it, not even after `kill -9`: a guard holds a pipe
//!   from that process and shuts Postgres down when the pipe ends (see [`PrivatePostgres`]).
//! - A cluster is either whole or absent: `initdb` works beside it and is renamed into place.
//! - Nothing is ever signalled that is not a postmaster of this very folder.
//!
//! A supervisor that stops a service by signalling all of its processes (systemd's default
//! `KillMode=control-group`) reaches Postgres before the service has drained: use `KillMode=mixed`.

mod account;
mod address;
mod binaries;
mod cluster;
#[cfg(feature = "test-containers")]
mod container;
mod download;
mod error;
mod folder;
mod guard;
mod log;
mod owner;
mod postmaster;
mod wire;

use std::path::PathBuf;

pub use address::Address;
pub use cluster::PrivatePostgres;
#[cfg(feature = "test-containers")]
pub use container::ContainedPostgres;
pub use error::Error;
pub use owner::running;

/// Says where a private cluster lives and how careful it is with its bytes.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// The cluster's own folder, such as `DATA/postgres`; made when it is missing.
    pub directory: PathBuf,
    /// Whether committed data survives a power cut. `false` turns `fsync`, `synchronous_commit` and
    /// `full_page_writes` off: for tests and demonstrations, whose data nobody misses.
    pub durable: bool,
    /// A folder with `initdb` and `postgres` to take instead of searching for one.
    pub binaries: Option<PathBuf>,
}

impl PostgresOptions {
    /// Describes a durable cluster in `directory` that runs on whatever binaries are found.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            durable: true,
            binaries: None,
        }
    }
}
