//! The endpoints under `/api/application/servers`.

mod change;
mod create;
mod delete;
mod fields;
mod list;
mod show;
mod state;

use holdfast_domain::limit::ServerLoad;
use holdfast_domain::{JobKind, Server};

use crate::views;
use crate::views::application::objects::ServerObject;

pub(crate) use change::*;
pub(crate) use create::*;
pub(crate) use delete::*;
pub(crate) use list::*;
pub(crate) use show::*;
pub(crate) use state::*;

/// A server that was just changed, as it is shown.
fn shown(server: &Server, load: ServerLoad) -> ServerObject {
    let is_restoring = load.unfinished == Some(JobKind::RestoreBackup);
    views::application::server(server, is_restoring)
}
