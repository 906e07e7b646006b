//! The endpoints under `/api/client/servers/{server}/schedules`.

mod change;
mod create;
mod delete;
mod execute;
mod fields;
mod find;
mod list;
mod show;
pub(crate) mod tasks;

pub(crate) use change::*;
pub(crate) use create::*;
pub(crate) use delete::*;
pub(crate) use execute::*;
#[cfg(fuzzing)]
pub(crate) use fields::ScheduleFields;
pub(crate) use list::*;
pub(crate) use show::*;
