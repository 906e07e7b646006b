//! `holdfast migrate`: brings the schema up to date, then exits; `--check` only looks.

use std::path::Path;

use holdfast_db::Schema;

use crate::database::{self, listed, too_new};
use crate::failure::Failure;
use crate::output;
use crate::settings::Settings;

/// What `--check` ends with when the schema is not this version's own.
const BEHIND: u8 = 3;
const NEWER: u8 = 4;
const TOO_NEW: u8 = 5;

pub(super) async fn run(settings: &Settings, data: &Path, check: bool) -> Result<(), Failure> {
    let database = database::connect(settings, data).await?;
    if check {
        return told(&holdfast_db::schema(&database).await?);
    }
    match database::migrate(&database).await? {
        Schema::Newer(unknown) => output::line(&format!(
            "the schema is newer than this version, which works with it: {} it does not know",
            listed(&unknown)
        )),
        _ => output::line("the schema is up to date"),
    }
    Ok(())
}

fn told(schema: &Schema) -> Result<(), Failure> {
    let failure = match schema {
        Schema::Current => {
            output::line("the schema is up to date");
            return Ok(());
        }
        Schema::Behind(missing) => Failure::new(format!(
            "the schema is behind this version, {} did not run: run `holdfast migrate`",
            listed(missing)
        ))
        .with_exit_code(BEHIND),
        Schema::Newer(unknown) => Failure::new(format!(
            "the schema is newer than this version, which works with it: {} it does not know",
            listed(unknown)
        ))
        .with_exit_code(NEWER),
        Schema::TooNew(needed) => too_new(*needed).with_exit_code(TOO_NEW),
    };
    Err(failure)
}
