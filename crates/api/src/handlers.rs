//! The handlers: one function per endpoint.

pub(crate) mod activity;
pub(crate) mod application;
pub(crate) mod backups;
pub(crate) mod docs;
pub(crate) mod files;
pub(crate) mod health;
pub(crate) mod metrics;
pub(crate) mod node;
pub(crate) mod panel;
pub(crate) mod schedules;
