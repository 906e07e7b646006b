//! Stops a server before its files change places. It is not started again: it is ready to be.
//!
//! What is not covered: with driver `none` nobody asks, and a server that is started between the last look and the
//! exchange of the trees (some milliseconds) keeps files open that are no longer its own.

mod command;
mod docker;

use std::time::Duration;

use tokio::time::Instant;

use holdfast_domain::ServerId;
use holdfast_domain::error_chain::chain;

pub use self::command::CommandPower;
pub use self::docker::DockerPower;
use crate::outcome::{NotDone, Reason};

/// How often a server that was told to stop is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long it is looked at after the driver says that it has stopped it.
const SETTLE: Duration = Duration::from_secs(5);

/// How servers are stopped.
#[derive(Clone, Debug)]
pub enum Power {
    /// Not at all: whoever asks for a restore sees to it.
    None,
    /// By commands of the settings.
    Command(CommandPower),
    /// As containers.
    Docker(DockerPower),
}

/// Why it is not known that a server has stopped.
#[derive(Debug, thiserror::Error)]
pub enum PowerError {
    /// A command could not be started.
    #[error("`{program}` can't be run")]
    Start {
        /// The first word of the command.
        program: String,
        /// The system's word.
        source: std::io::Error,
    },
    /// A command took too long, and was killed.
    #[error("`{program}` did not end within {seconds} s{output}")]
    TooSlow {
        /// The first word of the command.
        program: String,
        /// How long it was given.
        seconds: u64,
        /// How its output ended, if there was any.
        output: String,
    },
    /// A command failed.
    #[error("`{program}` ended with {status}{output}")]
    Failed {
        /// The first word of the command.
        program: String,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// How its output ended, if there was any.
        output: String,
    },
    /// Docker did not do what it was asked.
    #[error("docker could not be used at {}", socket.display())]
    Docker {
        /// Where it was asked.
        socket: std::path::PathBuf,
        /// What it said.
        source: bollard::errors::Error,
    },
    /// The server was told to stop, and runs all the same.
    #[error("the server still runs after it was stopped")]
    StillRuns,
}

impl Power {
    /// Says whether a server runs.
    ///
    /// # Errors
    /// When that can't be found out.
    pub async fn is_running(&self, server: ServerId) -> Result<bool, PowerError> {
        match self {
            Self::None => Ok(false),
            Self::Command(command) => command.is_running(server).await,
            Self::Docker(docker) => docker.is_running(server).await,
        }
    }

    /// Stops a server, and returns once it no longer runs.
    async fn stop(&self, server: ServerId) -> Result<(), PowerError> {
        match self {
            Self::None => return Ok(()),
            Self::Command(command) => command.stop(server).await?,
            Self::Docker(docker) => docker.stop(server).await?,
        }
        let until = Instant::now() + SETTLE;
        while self.is_running(server).await? {
            if Instant::now() >= until {
                return Err(PowerError::StillRuns);
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

/// Keeps one server down while it is restored.
#[derive(Debug)]
pub(crate) struct Halt {
    power: Power,
    server: ServerId,
    /// Whether it was seen not to run.
    is_down: bool,
    /// Whether it had to be stopped.
    was_stopped: bool,
}

impl Halt {
    /// Begins to care for a server: nothing is stopped yet, but who could not be asked is found out before the work.
    ///
    /// # Errors
    /// When the driver can't be used.
    pub(crate) async fn begin(power: &Power, server: ServerId) -> Result<Self, NotDone> {
        power
            .is_running(server)
            .await
            .map_err(|error| unknown(&error))?;
        Ok(Self {
            power: power.clone(),
            server,
            is_down: false,
            was_stopped: false,
        })
    }

    /// Stops the server if it runs. From the second call on, one that runs was started again meanwhile.
    ///
    /// # Errors
    /// When it does not stop, or was started again.
    pub(crate) async fn ensure(&mut self) -> Result<(), NotDone> {
        let runs = self.power.is_running(self.server).await;
        match runs.map_err(|error| unknown(&error))? {
            false => {}
            true if self.is_down => {
                return Err(NotDone::terminal(
                    "The server was started while it was being restored. Nothing was changed. Stop it, and restore \
                     it again.",
                    format!("server {} runs again", self.server),
                )
                .because(Reason::ServerRunning));
            }
            true => {
                tracing::info!(server = %self.server, "stopping a server to restore it");
                self.power.stop(self.server).await.map_err(|error| {
                    NotDone::terminal(
                        "The server could not be stopped, so nothing was changed. Stop it, and restore it again.",
                        chain(&error),
                    )
                    .because(Reason::ServerRunning)
                })?;
                self.was_stopped = true;
            }
        }
        self.is_down = true;
        Ok(())
    }

    /// Adds to a failure what has become of the server.
    pub(crate) fn tell(&self, failed: NotDone) -> NotDone {
        if !self.was_stopped {
            return failed;
        }
        let add = |mut failure: holdfast_db::jobs::JobFailure| {
            failure.sentence.push_str(" The server is stopped.");
            failure
        };
        match failed {
            NotDone::Stopped => NotDone::Stopped,
            NotDone::Retry(failure, reason) => NotDone::Retry(add(failure), reason),
            NotDone::Final(failure, reason) => NotDone::Final(add(failure), reason),
        }
    }
}

fn unknown(error: &PowerError) -> NotDone {
    NotDone::terminal(
        "It could not be found out whether the server runs, so nothing was changed. Whoever runs the service has to \
         look at its power settings.",
        chain(error),
    )
    .because(Reason::ServerRunning)
}
