//! The source of the tests' PostgreSQL, by `HOLDFAST_TEST_POSTGRES`:
//!
//! - `private`, or not set: a private cluster with this machine's binaries, without fsync;
//! - `container`: one in Docker, by testcontainers, from the image that docker-compose.yml names
//!   (`cargo test --features test-containers`). It is removed when this process ends;
//! - `postgres://…`: an existing one. The tests may do anything in its databases named
//!   `holdfast_it_…`. The migrated one stays behind.

use holdfast_db::{Database, Error};
use holdfast_postgres::{PostgresOptions, PrivatePostgres};

use super::database::root;

const VARIABLE: &str = "HOLDFAST_TEST_POSTGRES";
/// The placeholder for the name of a database in a URL.
const ANY: &str = "any_database";

/// A running Postgres with a database that was migrated.
pub(crate) struct Postgres {
    /// Its URL, with [`ANY`] for the database.
    url: String,
    /// The prefix of database names, for a PostgreSQL that others use, too.
    prefix: String,
    template: String,
    _private: Option<PrivatePostgres>,
}

impl Postgres {
    /// Starts or finds it, and migrates a database to copy.
    pub(crate) async fn start() -> Self {
        let wanted = std::env::var(VARIABLE).unwrap_or_default();
        let (url, private) = match wanted.as_str() {
            "" | "private" => {
                let private = private().await;
                (private.url(ANY), Some(private))
            }
            "container" => (contained().await, None),
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

    /// Returns a unique name.
    pub(crate) fn name(&self, of: &str) -> String {
        format!("{}{of}", self.prefix)
    }

    /// The URL of a database.
    pub(crate) fn url(&self, database: &str) -> String {
        self.url.replace(ANY, database)
    }

    /// Runs a statement about databases.
    pub(crate) async fn administer(&self, statement: &str) {
        ask(&self.url("postgres"), statement).await.unwrap();
    }
}

/// Runs statements on a separate connection.
pub(crate) async fn ask(url: &str, statements: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
    let database = Database::connect(url, 1).await?;
    let rows = holdfast_db::raw(&database, statements).await;
    database.close().await;
    rows
}

async fn private() -> PrivatePostgres {
    let options = PostgresOptions {
        durable: false,
        ..PostgresOptions::new(root().join("postgres"))
    };
    PrivatePostgres::start(&options).await.unwrap()
}

/// Replaces the name of the database with [`ANY`]: the part after the last slash, before
/// parameters.
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
fn the_database_of_a_url_can_be_replaced() {
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
async fn contained() -> String {
    panic!("containers need `cargo test --features test-containers`")
}

/// Starts the image of docker-compose.yml, and returns its URL.
#[cfg(feature = "test-containers")]
async fn contained() -> String {
    let compose = include_str!("../../../docker-compose.yml");
    let mut lines = compose.lines();
    let tag = lines.find_map(|line| line.trim().strip_prefix("image: postgres:"));
    let container = holdfast_postgres::ContainedPostgres::start("postgres", tag.unwrap());
    let container = match container.await {
        Ok(container) => container,
        Err(error) => panic!("{}", holdfast_domain::error_chain::chain(&error)),
    };
    super::eventually("Postgres answers", async || {
        ask(&container.url("postgres"), "SELECT 1").await.ok()
    })
    .await;
    container.url(ANY)
}
