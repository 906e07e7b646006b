//! PostgreSQL in a container, for tests on a machine that has Docker: by testcontainers, with the feature
//! `test-containers`. It is removed when this process has ended, however.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use testcontainers::core::{IntoContainerPort as _, WaitFor};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{GenericImage, ImageExt as _, TestcontainersError};

use crate::error::{Error, context};

const PORT: u16 = 5432;

/// A cluster in a container, which forgets with it and so takes no care of its bytes. Everybody on the machine is let
/// in, as `postgres` and without a password.
#[derive(Debug)]
pub struct ContainedPostgres {
    host: String,
    port: u16,
}

impl ContainedPostgres {
    /// Starts an image that behaves as the official one does, such as `("postgres", "17-bookworm")`. It may take a
    /// moment until it answers: it has two lives, and what the first has said may be taken for the second's word.
    ///
    /// # Errors
    /// [`Error::Container`], or what the operating system says.
    pub async fn start(name: &str, tag: &str) -> Result<Self, Error> {
        let container = GenericImage::new(name, tag)
            // Once while it is made, which listens to nobody, and once for good.
            .with_wait_for(WaitFor::message_on_stdout("init process complete"))
            .with_wait_for(WaitFor::message_on_stderr("ready to accept connections"))
            .with_exposed_port(PORT.tcp())
            .with_env_var("POSTGRES_HOST_AUTH_METHOD", "trust")
            .with_cmd(["-c", "fsync=off", "-c", "synchronous_commit=off"])
            .start()
            .await
            .map_err(failed)?;
        let host = container.get_host().await.map_err(failed)?.to_string();
        let port = container.get_host_port_ipv4(PORT).await.map_err(failed)?;
        remove_at_the_end(container.id())
            .map_err(|error| context(&error, "cannot run sh to remove the container"))?;
        // Dropped, it would be removed at once.
        std::mem::forget(container);
        Ok(Self { host, port })
    }

    /// Writes the URL of one database.
    pub fn url(&self, database: &str) -> String {
        let Self { host, port } = self;
        format!("postgres://postgres@{host}:{port}/{database}?sslmode=disable")
    }
}

fn failed(source: TestcontainersError) -> Error {
    Error::Container {
        source: Box::new(source),
    }
}

/// Has a process of its own wait for the end of this one, of which its stdin tells, and remove the container.
fn remove_at_the_end(container: &str) -> std::io::Result<()> {
    let mut guard = Command::new("sh");
    guard.args(["-c", "cat; exec docker rm -f -v \"$0\"", container]);
    guard.stdout(Stdio::null()).stderr(Stdio::null());
    // Ctrl-C in the terminal is not for it.
    guard.process_group(0);
    std::mem::forget(guard.stdin(Stdio::piped()).spawn()?);
    Ok(())
}
