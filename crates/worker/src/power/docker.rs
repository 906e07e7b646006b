//! Controls servers that are containers on this node, through Docker's socket.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use bollard::errors::Error;
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, InspectContainerOptions, KillContainerOptions,
    ListContainersOptionsBuilder, StartContainerOptions, StopContainerOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use tokio::io::AsyncWriteExt as _;

use holdfast_domain::ServerId;

use super::PowerError;

/// How long Docker may take to answer, on top of the time it waits for a container to stop.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// How to find the container of a server, and stop it.
#[derive(Clone, Debug)]
pub struct DockerPower {
    /// Docker's socket.
    pub socket: PathBuf,
    /// The label that holds the server's UUID; `None` if the UUID is the container's name.
    pub label: Option<String>,
    /// How long a container may take to stop before Docker kills it.
    pub grace: Duration,
}

impl DockerPower {
    /// Returns whether a container of the server runs. A missing container does not run.
    pub(super) async fn is_running(&self, server: ServerId) -> Result<bool, PowerError> {
        let docker = self.connect().await?;
        let found = async {
            for container in self.containers(&docker, server).await? {
                if runs(&docker, &container).await? {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        found.await.map_err(|source| self.failed(source))
    }

    pub(super) async fn stop(&self, server: ServerId) -> Result<(), PowerError> {
        let docker = self.connect().await?;
        let grace = i32::try_from(self.grace.as_secs()).unwrap_or(i32::MAX);
        let stopped = async {
            for container in self.containers(&docker, server).await? {
                let options = StopContainerOptionsBuilder::default().t(grace).build();
                match docker.stop_container(&container, Some(options)).await {
                    // 304: it has already stopped; 404: it no longer exists.
                    Ok(())
                    | Err(Error::DockerResponseServerError {
                        status_code: 304 | 404,
                        ..
                    }) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        };
        stopped.await.map_err(|source| self.failed(source))
    }

    pub(super) async fn start(&self, server: ServerId) -> Result<(), PowerError> {
        let docker = self.connect().await?;
        let started = async {
            for container in self.containers(&docker, server).await? {
                let options = None::<StartContainerOptions>;
                match docker.start_container(&container, options).await {
                    // 304: it has already started.
                    Ok(())
                    | Err(Error::DockerResponseServerError {
                        status_code: 304, ..
                    }) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        };
        started.await.map_err(|source| self.failed(source))
    }

    pub(super) async fn kill(&self, server: ServerId) -> Result<(), PowerError> {
        let docker = self.connect().await?;
        let killed = async {
            for container in self.containers(&docker, server).await? {
                match docker
                    .kill_container(&container, None::<KillContainerOptions>)
                    .await
                {
                    // 409: it does not run; 404: it no longer exists.
                    Ok(())
                    | Err(Error::DockerResponseServerError {
                        status_code: 404 | 409,
                        ..
                    }) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        };
        killed.await.map_err(|source| self.failed(source))
    }

    /// Writes a line to the standard input of the server's containers that run.
    pub(super) async fn send_command(
        &self,
        server: ServerId,
        line: &str,
    ) -> Result<(), PowerError> {
        let docker = self.connect().await?;
        let containers = self.containers(&docker, server).await;
        let containers = containers.map_err(|source| self.failed(source))?;
        let mut is_sent = false;
        for container in containers {
            let inspected = docker.inspect_container(&container, None::<InspectContainerOptions>);
            let found = inspected.await.map_err(|source| self.failed(source))?;
            if !found
                .state
                .is_some_and(|state| state.running.unwrap_or(false))
            {
                continue;
            }
            let config = found.config.unwrap_or_default();
            // With `stdin_once`, the container's input would end with this command.
            if !config.open_stdin.unwrap_or(false) || config.stdin_once.unwrap_or(false) {
                return Err(PowerError::Unsupported(format!(
                    "the standard input of container {container} is not kept open; create it with \
                     `stdin_open: true` (`docker run --interactive --detach`)"
                )));
            }
            let options = AttachContainerOptionsBuilder::default()
                .stream(true)
                .stdin(true)
                .build();
            let attached = docker.attach_container(&container, Some(options)).await;
            let mut input = attached.map_err(|source| self.failed(source))?.input;
            let written = async {
                input.write_all(format!("{line}\n").as_bytes()).await?;
                input.flush().await
            };
            written.await.map_err(PowerError::Console)?;
            is_sent = true;
        }
        if is_sent {
            Ok(())
        } else {
            Err(PowerError::NotRunning)
        }
    }

    async fn connect(&self) -> Result<Docker, PowerError> {
        let timeout = (self.grace + RESPONSE_TIMEOUT).as_secs();
        let connected = async {
            let socket = self.socket.to_string_lossy();
            let docker = Docker::connect_with_unix(&socket, timeout, API_DEFAULT_VERSION)?;
            // An older daemon refuses newer API versions.
            docker.negotiate_version().await
        };
        connected.await.map_err(|source| self.failed(source))
    }

    /// Returns the names or IDs of the server's containers. A name may not exist.
    async fn containers(&self, docker: &Docker, server: ServerId) -> Result<Vec<String>, Error> {
        let Some(label) = &self.label else {
            return Ok(vec![server.to_string()]);
        };
        let filters = HashMap::from([("label", vec![format!("{label}={server}")])]);
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters)
            .build();
        let found = docker.list_containers(Some(options)).await?;
        Ok(found.into_iter().filter_map(|found| found.id).collect())
    }

    fn failed(&self, source: Error) -> PowerError {
        PowerError::Docker {
            socket: self.socket.clone(),
            source,
        }
    }
}

async fn runs(docker: &Docker, container: &str) -> Result<bool, Error> {
    let inspected = docker
        .inspect_container(container, None::<InspectContainerOptions>)
        .await;
    match inspected {
        // Docker counts a paused container as running. A container that restarts will run soon.
        Ok(found) => Ok(found.state.is_some_and(|state| {
            state.running.unwrap_or(false) || state.restarting.unwrap_or(false)
        })),
        Err(Error::DockerResponseServerError {
            status_code: 404, ..
        }) => Ok(false),
        Err(error) => Err(error),
    }
}
