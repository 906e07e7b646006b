//! Access to Postgres: the state of the service and the job table. The only crate that contains
//! SQL.
//!
//! Functions that need one statement take a [`Database`]. Functions that are part of a larger
//! change take a [`Transaction`]. Queries are checked against the schema at compile time, with the
//! query cache in `.sqlx/`.
//!
//! This crate must never decide anything. Rules are in `holdfast_domain`.

pub mod activity;
pub mod backups;
mod batch;
mod error;
pub mod events;
pub mod jobs;
pub mod keys;
mod leader_lock;
mod list_versions;
mod listen;
pub mod maintenance;
pub mod metrics;
mod migrate;
pub mod operator_log;
pub mod panel_callbacks;
mod pool;
pub mod rates;
mod raw;
pub mod request_lookup;
pub mod retention;
pub mod schedules;
mod server_check;
pub mod servers;
pub mod standing;
pub mod subusers;
pub mod usage;
pub mod users;
pub mod webhooks;
pub mod wings_servers;
pub mod workers;

pub use error::Error;
pub use leader_lock::{LeaderLock, LockTimeout};
pub use list_versions::ListVersions;
pub use listen::{Listener, Signal};
pub use migrate::{Schema, migrate, schema};
pub use pool::{Database, PoolUse, Transaction};
pub use raw::raw;
pub use server_check::check_server;
