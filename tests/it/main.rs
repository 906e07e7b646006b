//! Tests of the whole service, in one program so that it is linked once.
//!
//! Each test has its own database, disk, server directory, API and worker. All share one private
//! PostgreSQL. There are no mocks: requests go through a socket, archives are files on a disk, and
//! processes are really killed.
// Futures nest deeper here, down to the clients of disks, than the compiler allows by default.
#![recursion_limit = "256"]
#![expect(
    clippy::unwrap_used,
    reason = "a test that panics has failed, as it should"
)]

mod activity;
mod application;
mod attacker;
mod backups;
mod beside_panel;
mod cli;
mod client;
mod database_by_tls;
mod databases;
mod disks;
mod docs;
mod faults;
mod file_modes;
mod free_space;
mod gentle;
mod guide;
mod hosts;
mod isolation;
mod limits;
mod lost_database;
mod maintenance;
mod metrics;
mod node_proxy;
mod node_routes;
mod nodes;
mod panel_endpoints;
mod panel_keys;
mod permissions;
mod power;
mod protection;
mod proxies;
mod queries;
mod reference;
mod refusals;
mod request_ids;
mod request_lines;
mod reuse;
mod schedules;
mod secrets;
#[expect(dead_code, reason = "scripts use more of the stand-ins than tests do")]
#[path = "../stand_ins/stand_ins.rs"]
mod stand_ins;
mod standing;
mod streams;
mod support;
mod tidy;
mod upgrades;
mod webhooks;
mod worker_dies;
