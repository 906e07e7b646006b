//! Reads how servers are controlled: stopped before a restore, and by the tasks of schedules.

use std::path::Path;
use std::time::Duration;

use holdfast_domain::error_chain::chain;
use holdfast_worker::power::{CommandPower, DockerPower, Power, WingsPower};

use super::WingsSettings;
use super::values::SettingsReader;

const DRIVER: &str = "power.driver";
const STOP: &str = "power.stop_command";
const RUNNING: &str = "power.running_command";
const START: &str = "power.start_command";
const KILL: &str = "power.kill_command";
const CONSOLE: &str = "power.console_command";

impl SettingsReader {
    /// Reads the power driver. `wings` is `None` if `[wings]` has a problem.
    pub(super) fn power(&mut self, wings: Option<&Option<WingsSettings>>) -> Option<Power> {
        let driver = self.string(DRIVER);
        let timeout = self.seconds("power.stop_timeout_seconds", 1..=3600);
        let stop = self.list(STOP);
        let running = self.list(RUNNING);
        let start = self.optional_command(START);
        let kill = self.optional_command(KILL);
        let console = self.optional_command(CONSOLE);
        let socket = self.string("power.docker_socket");
        let label = self.string("power.docker_label");
        let timeout = timeout?;
        let is_beside_wings = wings.is_some_and(Option::is_some);
        match driver?.as_str() {
            "" if !is_beside_wings => Some(Power::None),
            "" | "wings" => self.wings_power(wings?.as_ref(), timeout),
            "none" => Some(Power::None),
            "command" => {
                let stop = self.check_command(STOP, stop?);
                let running = self.check_command(RUNNING, running?);
                Some(Power::Command(CommandPower {
                    stop: stop?,
                    running: running?,
                    start: start?,
                    kill: kill?,
                    console: console?,
                    timeout,
                    path: std::env::var_os("PATH"),
                }))
            }
            "docker" if is_beside_wings => {
                let message = "must not be docker with wings.config: a container that is stopped \
                               behind the back of Wings counts as a crash, and Wings starts it \
                               again. Set it to \"wings\"";
                self.reject(DRIVER, message)
            }
            "docker" => {
                let socket = self.absolute_path("power.docker_socket", Path::new(&socket?))?;
                let label = label?;
                Some(Power::Docker(DockerPower {
                    socket,
                    label: (!label.is_empty()).then_some(label),
                    grace: timeout,
                }))
            }
            other => {
                let message = format!("must be none, command, docker or wings, not `{other}`");
                self.reject(DRIVER, message)
            }
        }
    }

    fn wings_power(&mut self, wings: Option<&WingsSettings>, grace: Duration) -> Option<Power> {
        let Some(wings) = wings else {
            return self.reject(
                DRIVER,
                "can only be wings with wings.config, which is not set",
            );
        };
        match WingsPower::new(&wings.node, grace) {
            Ok(power) => Some(Power::Wings(power)),
            Err(error) => self.reject(DRIVER, chain(&error)),
        }
    }

    /// Reads a command that may be missing.
    fn optional_command(&mut self, key: &str) -> Option<Vec<String>> {
        match self.list(key)? {
            words if words.is_empty() => Some(words),
            words => self.check_command(key, words),
        }
    }

    fn check_command(&mut self, key: &str, words: Vec<String>) -> Option<Vec<String>> {
        match words.first() {
            Some(program) if Path::new(program).is_absolute() => Some(words),
            Some(program) => {
                let rule = "must start with the absolute path of a program";
                self.reject(key, format!("{rule}, not `{program}`"))
            }
            None => self.reject(key, "must be set with power.driver = \"command\""),
        }
    }
}
