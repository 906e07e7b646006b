//! Stops a server before its files are replaced, and does not start it again. For schedules,
//! changes the power state of a server and sends commands to its console.
//!
//! Two cases of restores are not covered. With the driver `none`, nothing is checked. A server that
//! starts in the few milliseconds between the last check and the swap keeps the old files open.

mod command;
mod docker;
mod wings;

use std::time::Duration;

use tokio::time::Instant;

use holdfast_domain::ServerId;
use holdfast_domain::error_chain::chain;
use holdfast_domain::schedule::{PowerAction, PowerSupport, PowerUnsupported};

pub use self::command::CommandPower;
pub use self::docker::DockerPower;
pub use self::wings::{WingsError, WingsPower};
pub use crate::http_client::HttpError;
use crate::outcome::{FailureReason, JobError};

/// Time between two checks whether a server still runs.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// How long the state of a server may take to change after the driver has acted.
const STATE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long it may take with Wings, which answers before it acts. Before it starts a server, it
/// checks the permissions of all its files.
const WINGS_STATE_TIMEOUT: Duration = Duration::from_secs(120);

/// How servers are stopped.
#[derive(Clone, Debug)]
pub enum Power {
    /// Not at all: the caller must stop the server first.
    None,
    /// By commands from the settings.
    Command(CommandPower),
    /// As Docker containers.
    Docker(DockerPower),
    /// Through Wings, the daemon of the panel.
    Wings(WingsPower),
}

/// Why a server could not be stopped, or its state could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PowerError {
    /// A command could not be started.
    #[error("`{program}` can't be run")]
    Start {
        /// The program.
        program: String,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A command exceeded its timeout and was killed.
    #[error("`{program}` did not end within {seconds} s{output}")]
    TooSlow {
        /// The program.
        program: String,
        /// The timeout.
        seconds: u64,
        /// The end of its output, if there was any.
        output: String,
    },
    /// A command failed.
    #[error("`{program}` ended with {status}{output}")]
    Failed {
        /// The program.
        program: String,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// The end of its output, if there was any.
        output: String,
    },
    /// A request to Docker failed.
    #[error("cannot use Docker at {}", socket.display())]
    Docker {
        /// Docker's socket.
        socket: std::path::PathBuf,
        /// Docker's error.
        source: bollard::errors::Error,
    },
    /// A request to Wings failed.
    #[error("cannot use Wings at {url}")]
    Wings {
        /// The URL of Wings.
        url: String,
        /// What is wrong.
        source: WingsError,
    },
    /// The driver, as it is set, can't do this.
    #[error("{0}")]
    Unsupported(String),
    /// The server does not run, so its console takes no command.
    #[error("the server does not run")]
    NotRunning,
    /// A command could not be written to the server's console.
    #[error("the command could not be sent to the server's console")]
    Console(#[source] std::io::Error),
    /// The server does not run although the driver has started it.
    #[error("the server is not running after the attempt to start it")]
    NotStarted,
    /// The server still runs although the driver has stopped it.
    #[error("the server is still running after the attempt to stop it")]
    StillRuns,
}

impl From<PowerUnsupported> for PowerError {
    fn from(unsupported: PowerUnsupported) -> Self {
        Self::Unsupported(unsupported.to_string())
    }
}

impl Power {
    /// Returns what the driver can do for the tasks of schedules.
    pub fn support(&self) -> PowerSupport {
        match self {
            Self::None => PowerSupport::None,
            Self::Command(command) => PowerSupport::Commands {
                can_start: !command.start.is_empty(),
                can_kill: !command.kill.is_empty(),
                can_send: !command.console.is_empty(),
            },
            Self::Docker(_) | Self::Wings(_) => PowerSupport::All,
        }
    }

    /// Returns whether a server runs.
    ///
    /// # Errors
    /// If the driver can't be used.
    pub async fn is_running(&self, server: ServerId) -> Result<bool, PowerError> {
        match self {
            Self::None => Ok(false),
            Self::Command(command) => command.is_running(server).await,
            Self::Docker(docker) => docker.is_running(server).await,
            Self::Wings(wings) => wings.is_running(server).await,
        }
    }

    /// Stops a server, and waits until it no longer runs.
    async fn stop(&self, server: ServerId) -> Result<(), PowerError> {
        match self {
            Self::None => return Ok(()),
            Self::Command(command) => command.stop(server).await?,
            Self::Docker(docker) => docker.stop(server).await?,
            Self::Wings(wings) => wings.stop(server).await?,
        }
        self.wait_until(server, false).await
    }

    /// Changes the power state of a server, and waits until it is reached. Does nothing if it is
    /// already reached.
    ///
    /// # Errors
    /// If the driver can't do it, or if the state is not reached.
    pub(crate) async fn change(
        &self,
        server: ServerId,
        action: PowerAction,
    ) -> Result<(), PowerError> {
        self.support().check_power(action)?;
        match action {
            PowerAction::Stop => self.stop(server).await,
            PowerAction::Start => self.start(server).await,
            PowerAction::Restart => {
                self.stop(server).await?;
                self.start(server).await
            }
            PowerAction::Kill => {
                match self {
                    Self::None => {}
                    Self::Command(command) => command.kill(server).await?,
                    Self::Docker(docker) => docker.kill(server).await?,
                    Self::Wings(wings) => wings.kill(server).await?,
                }
                self.wait_until(server, false).await
            }
        }
    }

    async fn start(&self, server: ServerId) -> Result<(), PowerError> {
        if self.is_running(server).await? {
            return Ok(());
        }
        match self {
            Self::None => {}
            Self::Command(command) => command.start(server).await?,
            Self::Docker(docker) => docker.start(server).await?,
            Self::Wings(wings) => wings.start(server).await?,
        }
        self.wait_until(server, true).await
    }

    /// Sends a line to a server's console.
    ///
    /// # Errors
    /// [`PowerError::NotRunning`] if the server does not run. Other errors if the driver can't do
    /// it.
    pub(crate) async fn send_command(
        &self,
        server: ServerId,
        line: &str,
    ) -> Result<(), PowerError> {
        self.support().check_command()?;
        if !self.is_running(server).await? {
            return Err(PowerError::NotRunning);
        }
        match self {
            Self::None => Ok(()),
            Self::Command(command) => command.send_command(server, line).await,
            Self::Docker(docker) => docker.send_command(server, line).await,
            Self::Wings(wings) => wings.send_command(server, line).await,
        }
    }

    async fn wait_until(&self, server: ServerId, runs: bool) -> Result<(), PowerError> {
        let timeout = match self {
            Self::Wings(_) => WINGS_STATE_TIMEOUT,
            Self::None | Self::Command(_) | Self::Docker(_) => STATE_TIMEOUT,
        };
        let deadline = Instant::now() + timeout;
        while self.is_running(server).await? != runs {
            if Instant::now() >= deadline {
                return Err(if runs {
                    PowerError::NotStarted
                } else {
                    PowerError::StillRuns
                });
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }
}

/// Makes sure that a server does not run while it is restored.
#[derive(Debug)]
pub(crate) struct PowerGuard {
    power: Power,
    server: ServerId,
    /// Whether the server was down at an earlier check.
    was_down: bool,
    /// Whether this guard stopped the server.
    has_stopped: bool,
}

impl PowerGuard {
    /// Checks that the driver can be used, without stopping the server yet.
    ///
    /// # Errors
    /// If the driver can't be used.
    pub(crate) async fn new(power: &Power, server: ServerId) -> Result<Self, JobError> {
        power
            .is_running(server)
            .await
            .map_err(|error| state_unknown(&error))?;
        Ok(Self {
            power: power.clone(),
            server,
            was_down: false,
            has_stopped: false,
        })
    }

    /// Stops the server if it runs.
    ///
    /// # Errors
    /// If the server does not stop, or if it was started after an earlier call.
    pub(crate) async fn ensure_stopped(&mut self) -> Result<(), JobError> {
        let is_running = self.power.is_running(self.server).await;
        match is_running.map_err(|error| state_unknown(&error))? {
            false => {}
            true if self.was_down => {
                return Err(JobError::permanent(
                    "The server was started while it was being restored. Nothing was changed. \
                     Stop it, and restore it again.",
                    format!("server {} runs again", self.server),
                )
                .with_reason(FailureReason::ServerRunning));
            }
            true => {
                tracing::info!(server = %self.server, "stopping a server to restore it");
                self.power.stop(self.server).await.map_err(|error| {
                    JobError::permanent(
                        "The server could not be stopped, so nothing was changed. Stop it, and \
                         restore it again.",
                        chain(&error),
                    )
                    .with_reason(FailureReason::ServerRunning)
                })?;
                self.has_stopped = true;
            }
        }
        self.was_down = true;
        Ok(())
    }

    /// Adds to the error's sentence that the server is stopped, if this guard stopped it.
    pub(crate) fn add_server_state(&self, error: JobError) -> JobError {
        if !self.has_stopped {
            return error;
        }
        let add = |mut failure: holdfast_db::jobs::JobFailure| {
            failure.sentence.push_str(" The server is stopped.");
            failure
        };
        match error {
            JobError::Stopped => JobError::Stopped,
            JobError::Retryable(failure, reason) => JobError::Retryable(add(failure), reason),
            JobError::Permanent(failure, reason) => JobError::Permanent(add(failure), reason),
        }
    }
}

fn state_unknown(error: &PowerError) -> JobError {
    if let PowerError::Wings { source, .. } = error
        && source.is_temporary()
    {
        return JobError::retryable(
            "The service could not find out whether the server runs, because Wings did not answer. \
             Nothing was changed.",
            chain(error),
        )
        .with_reason(FailureReason::ServerRunning);
    }
    JobError::permanent(
        "The service could not find out whether the server runs, so nothing was changed. The \
         operator of the service has to check its power settings.",
        chain(error),
    )
    .with_reason(FailureReason::ServerRunning)
}
