//! `holdfast check-config`: prints every problem in the settings.

use crate::args::GlobalOptions;
use crate::error::CommandError;
use crate::output;
use crate::settings::{Settings, environment};

pub(super) fn run(global: &GlobalOptions) -> Result<(), CommandError> {
    match Settings::load(&global.config, environment(), &global.data) {
        Ok(settings) => {
            describe_wings(&settings)?;
            describe_panel_auth(&settings)?;
            output::line("the settings are valid")
        }
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

/// Prints what the settings file of Wings says, without the token.
fn describe_wings(settings: &Settings) -> Result<(), CommandError> {
    let Some(wings) = &settings.wings else {
        return Ok(());
    };
    let node = &wings.node;
    output::line(&format!("settings of Wings: {}", wings.config.display()))?;
    output::line(&format!("  panel: {}", node.panel_url))?;
    output::line(&format!("  node: {}", node.uuid))?;
    output::line(&format!(
        "  token: {} (the secret is not shown)",
        node.token_id
    ))?;
    output::line(&format!(
        "  directories of servers: {}",
        node.data.display()
    ))?;
    output::line(&format!("  Wings answers at: {}", node.wings_url))?;
    for warning in wings.warnings(&settings.storage) {
        output::problem(&format!("warning: {warning}"));
    }
    Ok(())
}

/// Prints which panel decides about callers without a key.
fn describe_panel_auth(settings: &Settings) -> Result<(), CommandError> {
    let Some(panel) = &settings.auth.panel else {
        return Ok(());
    };
    output::line(&format!(
        "credentials of the panel are accepted: {}",
        panel.url
    ))?;
    if let Some(wings) = &settings.wings
        && wings.node.panel_url != panel.url
    {
        output::problem(&format!(
            "warning: auth.panel.url is not the panel of this node, {}: the node's servers are \
             closed to users of another panel",
            wings.node.panel_url
        ));
    }
    if panel.is_readable_on_the_way() {
        output::problem(
            "warning: auth.panel.url starts with http://, so that users' keys and sessions can be \
             read on the way to the panel: use https",
        );
    }
    Ok(())
}
