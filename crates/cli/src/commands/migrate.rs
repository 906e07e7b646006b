//! `holdfast migrate`: brings the schema up to date, then exits.

use std::path::Path;

use crate::failure::Failure;
use crate::settings::Settings;
use crate::{database, output};

pub(super) async fn run(settings: &Settings, data: &Path) -> Result<(), Failure> {
    let database = database::connect(settings, data).await?;
    holdfast_db::migrate(&database).await?;
    output::line("the schema is up to date");
    Ok(())
}
