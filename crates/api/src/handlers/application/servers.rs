//! The endpoints under `/api/application/servers`.

mod change;
mod create;
mod delete;
mod fields;
mod list;
mod show;
mod state;

pub(crate) use change::change;
pub(crate) use create::create;
pub(crate) use delete::delete;
pub(crate) use list::list;
pub(crate) use show::show;
pub(crate) use state::set_state;
