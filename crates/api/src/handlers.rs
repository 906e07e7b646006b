//! One function an endpoint.

pub(crate) mod application;
pub(crate) mod backups;
pub(crate) mod files;
pub(crate) mod health;
