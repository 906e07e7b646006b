//! Servers that are containers on this node, asked for through Docker's socket.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use bollard::errors::Error;
use bollard::query_parameters::{
    InspectContainerOptions, ListContainersOptionsBuilder, StopContainerOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker};

use holdfast_domain::ServerId;

use super::PowerError;

/// How long Docker may take to answer, beside what it waits for.
const ANSWER: Duration = Duration::from_secs(30);

/// Containers by the UUIDs of their servers.
#[derive(Clone, Debug)]
pub struct DockerPower {
    /// Docker's socket.
    pub socket: PathBuf,
    /// The label that holds a server's UUID; `None` when its container is named by it.
    pub label: Option<String>,
    /// How long a container may take to stop before Docker kills it.
    pub grace: Duration,
}

impl DockerPower {
    /// Says whether a container of the server runs. One that is not there does not.
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
                    // 304: it had stopped by itself; 404: it has gone.
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

    async fn connect(&self) -> Result<Docker, PowerError> {
        let timeout = (self.grace + ANSWER).as_secs();
        let connected = async {
            let socket = self.socket.to_string_lossy();
            let docker = Docker::connect_with_unix(&socket, timeout, API_DEFAULT_VERSION)?;
            // An older daemon refuses what it does not know.
            docker.negotiate_version().await
        };
        connected.await.map_err(|source| self.failed(source))
    }

    /// The names of the server's containers, whether there are any of those names or not.
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
        // A paused container runs for Docker, and one that is being restarted is about to.
        Ok(found) => Ok(found.state.is_some_and(|state| {
            state.running.unwrap_or(false) || state.restarting.unwrap_or(false)
        })),
        Err(Error::DockerResponseServerError {
            status_code: 404, ..
        }) => Ok(false),
        Err(error) => Err(error),
    }
}
