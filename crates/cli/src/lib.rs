//! Everything behind the binary `holdfast`, as a library so that whole-service tests can compose
//! the same parts. The only crate that reads settings and the environment.
// See main.rs: futures lie deeper in each other than the compiler counts by default.
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
