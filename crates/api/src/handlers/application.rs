//! The endpoints under `/api/application`, for administrators' application keys.

pub(crate) mod activity;
pub(crate) mod jobs;
pub(crate) mod keys;
pub(crate) mod nodes;
pub(crate) mod servers;
pub(crate) mod storage;
pub(crate) mod subusers;
pub(crate) mod users;
