//! Every command of the binary, from outside.

mod admin;
mod admin_refusals;
mod archive;
mod archive_paths;
mod command_line;
mod generate;
mod low_limits;
mod output;
mod panel_auth;
mod processes;
mod schedule_changes;
mod schedule_refusals;
mod schedules;
mod wings;

use std::process::Command;

use serde_json::Value;

use crate::support::database::TestDatabase;
use crate::support::files;
use crate::support::process::{Ended, holdfast, run};

/// `holdfast admin --json …` on a database.
pub(crate) struct Admin {
    url: String,
    data: tempfile::TempDir,
}

impl Admin {
    pub(crate) fn new(database: &TestDatabase) -> Self {
        Self {
            url: database.url(),
            data: files::scratch(),
        }
    }

    fn command(&self) -> Command {
        let mut command = holdfast(&[("database.url", &self.url)]);
        command.env("HOLDFAST_DATA", self.data.path().join("data"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        run(self.command().args(["admin", "--json"]).args(arguments))
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        self.run(arguments).json()
    }

    pub(crate) fn failure(&self, arguments: &[&str]) -> String {
        self.run(arguments).failure().to_owned()
    }
}
