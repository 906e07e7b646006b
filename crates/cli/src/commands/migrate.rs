//! `holdfast migrate`: brings the database schema up to date; `--check` only compares it.

use std::path::Path;

use holdfast_db::Schema;

use crate::database::{self, describe_migrations, too_new};
use crate::error::CommandError;
use crate::output;
use crate::settings::Settings;

/// The exit codes of `--check` when the schema is not the one of this version.
const BEHIND: u8 = 3;
const NEWER: u8 = 4;
const TOO_NEW: u8 = 5;

pub(super) async fn run(settings: &Settings, data: &Path, check: bool) -> Result<(), CommandError> {
    let database = database::connect(settings, data).await?;
    if check {
        return check_result(&holdfast_db::schema(&database).await?);
    }
    match database::migrate(&database).await? {
        Schema::Newer(unknown) => output::line(&format!(
            "the schema is newer than this version, but compatible: it also has {}",
            describe_migrations(&unknown)
        )),
        _ => output::line("the schema is up to date"),
    }
}

fn check_result(schema: &Schema) -> Result<(), CommandError> {
    let error = match schema {
        Schema::Current => return output::line("the schema is up to date"),
        Schema::Behind(missing) => CommandError::new(format!(
            "the schema is older than this version: run `holdfast migrate` to apply {}",
            describe_migrations(missing)
        ))
        .with_exit_code(BEHIND),
        Schema::Newer(unknown) => CommandError::new(format!(
            "the schema is newer than this version, but compatible: it also has {}",
            describe_migrations(unknown)
        ))
        .with_exit_code(NEWER),
        Schema::TooNew(needed) => too_new(*needed).with_exit_code(TOO_NEW),
    };
    Err(error)
}
