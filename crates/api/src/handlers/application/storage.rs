//! The endpoints under `/api/application/storage`.

mod by_disk;
mod by_server;

pub(crate) use by_disk::*;
pub(crate) use by_server::*;
