//! Where the tests' Postgres comes from, by `HOLDFAST_TEST_POSTGRES`:
//!
//! - `private`, or not set: a private cluster on this machine's own binaries, without fsync;
//! - `container`: one in Docker, by testcontainers, of the image that docker-compose.yml names
//!   (`cargo test --features test-containers`); it is removed when this process has ended, however;
//! - `postgres://…`: one that is there already, in whose databases called `holdfast_it_…` the tests may do as they
//!   like; the one that was migrated stays behind.

use holdfast_db::{Database, Error};
use holdfast_postgres::{Options, PrivatePostgres};

use super::database::root;

const VARIABLE: &str = "HOLDFAST_TEST_POSTGRES";
/// Stands in a URL for the name of a database.
const ANY: &str = "any_database";

/// A running Postgres with a database that was migrated.
pub(crate) struct Postgres {
    /// Its URL, with [`ANY`] for the database.
    url: String,
    /// What names of databases begin with, where others have theirs too.
    prefix: String,
    template: String,
    _private: Option<PrivatePostgres>,
}

impl Postgres {
    /// Starts it, or finds it, and migrates a database to copy.
    pub(crate) async fn start() -> Self {
        let wanted = std::env::var(VARIABLE).unwrap_or_default();
        let (url, private) = match wanted.as_str() {
            "" | "private" => {
                let private = private().await;
                (private.url(ANY), Some(private))
            }
            "container" => (container::start().await, None),
            url if url.starts_with("postgres") => (of_any_database(url), None),
            other => {
                panic!("{VARIABLE} is `{other}`: it may be private, container or postgres://…")
            }
        };
        let prefix = match private {
            Some(_) => String::new(),
            None => format!("holdfast_it_{:08x}_", rand::random::<u32>()),
        };
        let postgres = Self {
            template: format!("{prefix}migrated"),
            url,
            prefix,
            _private: private,
        };
        let create = format!("CREATE DATABASE {}", postgres.template);
        postgres.administer(&create).await;
        let url = postgres.url(&postgres.template);
        let template = Database::connect(&url, 2).await.unwrap();
        holdfast_db::migrate(&template).await.unwrap();
        template.close().await;
        postgres
    }

    /// The name of the database to copy.
    pub(crate) fn template(&self) -> &str {
        &self.template
    }

    /// A name that nobody else has.
    pub(crate) fn name(&self, of: &str) -> String {
        format!("{}{of}", self.prefix)
    }

    /// The URL of a database.
    pub(crate) fn url(&self, database: &str) -> String {
        self.url.replace(ANY, database)
    }

    /// Runs a statement that is about databases.
    pub(crate) async fn administer(&self, statement: &str) {
        ask(&self.url("postgres"), statement).await.unwrap();
    }
}

/// Runs statements on a connection of their own.
pub(crate) async fn ask(url: &str, statements: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
    let database = Database::connect(url, 1).await?;
    let rows = holdfast_db::raw(&database, statements).await;
    database.close().await;
    rows
}

async fn private() -> PrivatePostgres {
    let options = Options {
        durable: false,
        ..Options::new(root().join("postgres"))
    };
    PrivatePostgres::start(&options).await.unwrap()
}

/// Puts [`ANY`] in place of the database's name: what is behind the last slash, before parameters.
fn of_any_database(url: &str) -> String {
    let (path, parameters) = match url.split_once('?') {
        Some((path, parameters)) => (path, format!("?{parameters}")),
        None => (url, String::new()),
    };
    let authority = path.find("://").map_or(0, |at| at + 3);
    let server = match path[authority..].find('/') {
        Some(at) => &path[..authority + at],
        None => path,
    };
    format!("{server}/{ANY}{parameters}")
}

#[test]
fn the_database_in_a_url_can_be_any() {
    for (url, any) in [
        ("postgres://a:b@c:1/d", "postgres://a:b@c:1/any_database"),
        ("postgres://a@c", "postgres://a@c/any_database"),
        (
            "postgres://c/d?sslmode=disable",
            "postgres://c/any_database?sslmode=disable",
        ),
    ] {
        assert_eq!(of_any_database(url), any);
    }
}

#[cfg(not(feature = "test-containers"))]
mod container {
    //! Built without containers.

    pub(super) async fn start() -> String {
        panic!("containers need `cargo test --features test-containers`")
    }
}

#[cfg(feature = "test-containers")]
mod container {
    //! Postgres in a container.

    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};

    use testcontainers::core::{IntoContainerPort as _, WaitFor};
    use testcontainers::runners::AsyncRunner as _;
    use testcontainers::{GenericImage, ImageExt as _};

    /// Starts it, and returns its URL.
    pub(super) async fn start() -> String {
        let (name, tag) = image();
        let container = GenericImage::new(name, tag)
            // Once while it is made, which listens to nobody, and once for good.
            .with_wait_for(WaitFor::message_on_stdout("init process complete"))
            .with_wait_for(WaitFor::message_on_stderr("ready to accept connections"))
            .with_exposed_port(5432.tcp())
            .with_env_var("POSTGRES_HOST_AUTH_METHOD", "trust")
            .with_cmd(["-c", "fsync=off", "-c", "synchronous_commit=off"])
            .start()
            .await
            .expect("Docker starts a container: does it run, and is the image there?");
        let host = container.get_host().await.unwrap();
        let port = container.get_host_port_ipv4(5432).await.unwrap();
        remove_at_the_end(container.id());
        // Dropped, it would be removed at once.
        std::mem::forget(container);
        let url = format!(
            "postgres://postgres@{host}:{port}/{}?sslmode=disable",
            super::ANY
        );
        // What the first of its two lives has said may be taken for the second's word.
        crate::support::eventually("Postgres answers", async || {
            super::ask(&url.replace(super::ANY, "postgres"), "SELECT 1")
                .await
                .ok()
        })
        .await;
        url
    }

    /// The image of docker-compose.yml.
    fn image() -> (String, String) {
        let compose = include_str!("../../../docker-compose.yml");
        let image = compose
            .lines()
            .find_map(|line| line.trim().strip_prefix("image: postgres:"));
        ("postgres".to_owned(), image.unwrap().to_owned())
    }

    /// Has a process of its own wait for the end of this one, of which its stdin tells, and remove the container.
    fn remove_at_the_end(container: &str) {
        let mut guard = Command::new("sh");
        guard.args(["-c", "cat; exec docker rm -f -v \"$0\"", container]);
        guard.stdout(Stdio::null()).stderr(Stdio::null());
        // Ctrl-C in the terminal is not for it.
        guard.process_group(0);
        let guard = guard.stdin(Stdio::piped()).spawn().unwrap();
        std::mem::forget(guard);
    }
}
