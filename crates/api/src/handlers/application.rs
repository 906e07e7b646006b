//! The endpoints under `/api/application`. They need the application key of an administrator.

pub(crate) mod activity;
pub(crate) mod jobs;
pub(crate) mod keys;
pub(crate) mod nodes;
pub(crate) mod servers;
pub(crate) mod storage;
pub(crate) mod subusers;
pub(crate) mod users;
