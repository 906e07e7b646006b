//! State and job table in Postgres. The only crate that knows SQL.
//!
//! Functions that are one statement take a [`Database`]; those that must hold
//! together with others take a [`Transaction`]. Every query is checked against
//! the schema when it is compiled (`.sqlx/` holds what the check needs).
//!
//! This crate must never decide: rules are in `holdfast_domain`.

pub mod activity;
pub mod backups;
mod connect;
mod error;
pub mod figures;
mod gather;
pub mod jobs;
pub mod keys;
mod lead;
mod listen;
pub mod maintenance;
mod marks;
mod migrate;
pub mod notices;
pub mod operations;
pub mod rates;
mod raw;
pub mod retention;
pub mod servers;
pub mod subusers;
pub mod usage;
pub mod users;
pub mod visits;
pub mod webhooks;
pub mod workers;

pub use connect::{Database, PoolUse, Transaction};
pub use error::Error;
pub use lead::{Lead, Patience};
pub use listen::{Listener, Signal};
pub use marks::Marks;
pub use migrate::{Schema, migrate, schema};
pub use raw::raw;
