//! `holdfast check-config`: prints every problem in the settings.

use crate::args::GlobalOptions;
use crate::error::CommandError;
use crate::output;
use crate::settings::{Settings, environment};

pub(super) fn run(global: &GlobalOptions) -> Result<(), CommandError> {
    match Settings::load(&global.config, environment(), &global.data) {
        Ok(_) => output::line("the settings are valid"),
        Err(error) => {
            for problem in &error.0 {
                output::problem(&problem.to_string());
            }
            let count = error.0.len();
            let noun = if count == 1 { "problem" } else { "problems" };
            Err(CommandError::new(format!("{count} {noun} in the settings")))
        }
    }
}
