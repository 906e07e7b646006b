//! Everything behind the binary `holdfast`, as a library so that whole-service tests can compose
//! the same parts. The only crate that reads settings and the environment.
// Futures nest deeper here, down to the clients of disks, than the compiler allows by default.
#![recursion_limit = "256"]

pub mod args;
pub mod commands;
pub mod data;
pub mod database;
pub mod failure;
pub mod output;
pub mod service;
pub mod settings;
pub mod shutdown;
pub mod telemetry;
