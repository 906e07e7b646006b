//! State and job table in Postgres. The only crate that knows SQL.
//!
//! Functions that are one statement take a [`Database`]; those that must hold
//! together with others take a [`Transaction`]. Every query is checked against
//! the schema when it is compiled (`.sqlx/` holds what the check needs).
//!
//! This crate must never decide: rules are in `holdfast_domain`.

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
mod pool;
pub mod rates;
mod raw;
pub mod request_lookup;
pub mod retention;
pub mod servers;
pub mod subusers;
pub mod usage;
pub mod users;
pub mod webhooks;
pub mod workers;

pub use error::Error;
pub use leader_lock::{LeaderLock, LockTimeout};
pub use list_versions::ListVersions;
pub use listen::{Listener, Signal};
pub use migrate::{Schema, migrate, schema};
pub use pool::{Database, PoolUse, Transaction};
pub use raw::raw;
