//! `holdfast check-config`: everything that is wrong with the settings, at once.

use crate::args::Global;
use crate::failure::Failure;
use crate::output;
use crate::settings::{Settings, environment};

pub(super) fn run(global: &Global) -> Result<(), Failure> {
    match Settings::load(&global.config, environment(), &global.data) {
        Ok(_) => {
            output::line("the settings are fine");
            Ok(())
        }
        Err(problems) => {
            for problem in &problems.0 {
                output::problem(&problem.to_string());
            }
            let count = problems.0.len();
            let noun = if count == 1 { "problem" } else { "problems" };
            Err(Failure::new(format!("{count} {noun} in the settings")))
        }
    }
}
