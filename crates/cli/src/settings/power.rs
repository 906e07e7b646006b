//! Reads how servers are stopped.

use std::path::Path;
use std::time::Duration;

use holdfast_worker::power::{CommandPower, DockerPower, Power};

use super::values::Reader;

const DRIVER: &str = "power.driver";
const STOP: &str = "power.stop_command";
const RUNNING: &str = "power.running_command";

impl Reader {
    pub(super) fn power(&mut self) -> Option<Power> {
        let driver = self.text(DRIVER);
        let timeout = self.number::<u64>("power.stop_timeout_seconds", 1..=3600);
        let stop = self.list(STOP);
        let running = self.list(RUNNING);
        let socket = self.text("power.docker_socket");
        let label = self.text("power.docker_label");
        let timeout = Duration::from_secs(timeout?);
        match driver?.as_str() {
            "none" => Some(Power::None),
            "command" => {
                let stop = self.command(STOP, stop?);
                let running = self.command(RUNNING, running?);
                Some(Power::Command(CommandPower {
                    stop: stop?,
                    running: running?,
                    timeout,
                    path: std::env::var_os("PATH"),
                }))
            }
            "docker" => {
                let socket = self.absolute("power.docker_socket", Path::new(&socket?))?;
                let label = label?;
                Some(Power::Docker(DockerPower {
                    socket,
                    label: (!label.is_empty()).then_some(label),
                    grace: timeout,
                }))
            }
            other => self.wrong(
                DRIVER,
                format!("must be none, command or docker, not `{other}`"),
            ),
        }
    }

    fn command(&mut self, key: &str, words: Vec<String>) -> Option<Vec<String>> {
        match words.first() {
            Some(program) if Path::new(program).is_absolute() => Some(words),
            Some(program) => self.wrong(
                key,
                format!("must begin with the absolute path of a program, not `{program}`"),
            ),
            None => self.wrong(
                key,
                "must be set with power.driver = \"command\"".to_owned(),
            ),
        }
    }
}
