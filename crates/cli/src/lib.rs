//! The library behind the binary `holdfast`. It is a library so that the whole-service tests can
//! start the same parts.
//!
//! It is the only crate that reads settings and environment variables.
// Futures nest deeper here, down to the clients of disks, than the compiler allows by default.
#![recursion_limit = "256"]

pub mod args;
pub mod commands;
pub mod data;
pub mod database;
pub mod error;
pub mod output;
pub mod process_limits;
mod progress;
pub mod service;
pub mod settings;
pub mod shutdown;
pub mod telemetry;
mod threads;
