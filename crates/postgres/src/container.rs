//! PostgreSQL in a Docker container, for tests, with the feature `test-containers`. The container
//! is removed when this process has ended, even if it was killed.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use testcontainers::core::{IntoContainerPort as _, WaitFor};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{GenericImage, ImageExt as _, TestcontainersError};

use crate::error::{Error, context};

const PORT: u16 = 5432;

/// A cluster in a container. It is not durable, and every user of the machine can connect as
/// `postgres` without a password.
#[derive(Debug)]
pub struct ContainedPostgres {
    host: String,
    port: u16,
}

impl ContainedPostgres {
    /// Starts an image that behaves like the official one, such as `("postgres", "17-bookworm")`.
    ///
    /// The server may refuse connections for a moment: the image starts it twice, and the messages
    /// of the first start look like those of the second.
    ///
    /// # Errors
    /// [`Error::Container`], or an error of the operating system.
    pub async fn start(name: &str, tag: &str) -> Result<Self, Error> {
        let container = GenericImage::new(name, tag)
            // The first start, during initialisation, does not listen on the network.
            .with_wait_for(WaitFor::message_on_stdout("init process complete"))
            .with_wait_for(WaitFor::message_on_stderr("ready to accept connections"))
            .with_exposed_port(PORT.tcp())
            .with_env_var("POSTGRES_HOST_AUTH_METHOD", "trust")
            .with_cmd(["-c", "fsync=off", "-c", "synchronous_commit=off"])
            .start()
            .await
            .map_err(container_error)?;
        let host = container
            .get_host()
            .await
            .map_err(container_error)?
            .to_string();
        let port = container
            .get_host_port_ipv4(PORT)
            .await
            .map_err(container_error)?;
        remove_after_exit(container.id())
            .map_err(|error| context(&error, "cannot run sh to remove the container"))?;
        // Dropping it would remove the container.
        std::mem::forget(container);
        Ok(Self { host, port })
    }

    /// Returns the URL of a database.
    pub fn url(&self, database: &str) -> String {
        let Self { host, port } = self;
        format!("postgres://postgres@{host}:{port}/{database}?sslmode=disable")
    }
}

fn container_error(source: TestcontainersError) -> Error {
    Error::Container {
        source: Box::new(source),
    }
}

/// Starts a process that removes the container when its stdin closes, which happens when this
/// process ends.
fn remove_after_exit(container: &str) -> std::io::Result<()> {
    let mut watcher = Command::new("sh");
    watcher.args(["-c", "cat; exec docker rm -f -v \"$0\"", container]);
    watcher.stdout(Stdio::null()).stderr(Stdio::null());
    // Its own process group, so that Ctrl-C in the terminal does not stop it.
    watcher.process_group(0);
    std::mem::forget(watcher.stdin(Stdio::piped()).spawn()?);
    Ok(())
}
