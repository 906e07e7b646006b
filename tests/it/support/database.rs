//! One PostgreSQL for all tests of this process, and a database for each test.
//!
//! The databases are copies of a migrated one. They are databases, not schemas: NOTIFY is per
//! database, so a schema would wake another test's workers. `HOLDFAST_TEST_POSTGRES` chooses the
//! PostgreSQL: see `super::postgres`.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use holdfast_db::Database;
use holdfast_domain::error_chain::chain;

use super::postgres::{self, Postgres};

const FOLDER: &str = "holdfast-it-";

/// The database of one test.
#[derive(Debug)]
pub(crate) struct TestDatabase {
    name: String,
}

impl TestDatabase {
    /// Copies the migrated database.
    pub(crate) async fn create() -> Self {
        Self::copy(server().template()).await
    }

    /// Creates a database without tables.
    pub(crate) async fn create_empty() -> Self {
        Self::copy("template0").await
    }

    /// Creates a database without tables, with options such as an encoding.
    pub(crate) async fn create_with(options: &str) -> Self {
        Self::copy(&format!("template0 {options}")).await
    }

    /// Changes the database, for example its settings for new sessions.
    pub(crate) async fn alter(&self, change: &str) {
        let alter = format!("ALTER DATABASE {} {change}", self.name);
        server().administer(&alter).await;
    }

    /// Runs a statement outside the database, such as one that creates another one.
    pub(crate) async fn administer(statement: &str) {
        server().administer(statement).await;
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    async fn copy(template: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = server().name(&format!("test_{number}"));
        let create = format!("CREATE DATABASE {name} TEMPLATE {template}");
        server().administer(&create).await;
        Self { name }
    }

    pub(crate) fn url(&self) -> String {
        server().url(&self.name)
    }

    pub(crate) async fn connect(&self) -> Database {
        Database::connect(&self.url(), 5).await.unwrap()
    }

    /// Runs statements past the service, to reach a state that would take long, such as an expired
    /// lease.
    pub(crate) async fn query(&self, statements: &str) -> Vec<Vec<Option<String>>> {
        self.try_query(statements).await.unwrap()
    }

    /// Runs statements that the database may refuse, and returns its error.
    pub(crate) async fn try_query(
        &self,
        statements: &str,
    ) -> Result<Vec<Vec<Option<String>>>, String> {
        postgres::ask(&self.url(), statements)
            .await
            .map_err(|error| chain(&error))
    }

    /// Queries one number.
    pub(crate) async fn number(&self, statement: &str) -> i64 {
        let rows = self.query(statement).await;
        rows[0][0].as_deref().unwrap().parse().unwrap()
    }

    /// Disconnects all clients and refuses new ones, until [`TestDatabase::bring_back`].
    pub(crate) async fn take_away(&self) {
        let name = &self.name;
        let shut = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false");
        server().administer(&shut).await;
        self.cut().await;
        for statement in [
            format!("ALTER DATABASE {name} RENAME TO {name}_away"),
            format!("ALTER DATABASE {name}_away ALLOW_CONNECTIONS true"),
        ] {
            server().administer(&statement).await;
        }
    }

    /// Runs statements while the database is away.
    pub(crate) async fn query_away(&self, statements: &str) {
        let url = server().url(&format!("{}_away", self.name));
        postgres::ask(&url, statements).await.unwrap();
    }

    pub(crate) async fn bring_back(&self) {
        let name = &self.name;
        let rename = format!("ALTER DATABASE {name}_away RENAME TO {name}");
        server().administer(&rename).await;
    }

    /// Ends every session.
    pub(crate) async fn cut(&self) {
        let cut = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'",
            self.name
        );
        server().administer(&cut).await;
    }

    /// Makes the database read-only, or writable again, for new sessions. All existing sessions are
    /// ended.
    pub(crate) async fn forbid_writes(&self, are_forbidden: bool) {
        let name = &self.name;
        let set =
            format!("ALTER DATABASE {name} SET default_transaction_read_only = {are_forbidden}");
        server().administer(&set).await;
        self.cut().await;
    }

    /// Drops the database, with all its connections.
    pub(crate) async fn drop(self) {
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        server().administer(&drop).await;
    }
}

/// The folder for everything that these tests create. Its path is short, since it contains a
/// socket.
pub(crate) fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        remove_stale();
        let root = std::env::temp_dir().join(format!("{FOLDER}{}", std::process::id()));
        // It exists only if a process with the same ID was killed.
        let _ = fs_err::remove_dir_all(&root);
        fs_err::create_dir(&root).unwrap();
        // PostgreSQL does not run as root.
        super::files::set_mode(&root, 0o711);
        root
    })
}

/// The PostgreSQL of this process. It is never dropped and ends with the process.
fn server() -> &'static Postgres {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    SERVER.get_or_init(|| {
        let (sender, receiver) = std::sync::mpsc::channel();
        // The runtime of a test ends with the test. This one does not.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                sender.send(Postgres::start().await).unwrap();
                std::future::pending::<()>().await;
            });
        });
        receiver.recv().expect("Postgres did not start")
    })
}
/// Removes leftovers of test processes that have ended, as far as permissions allow.
fn remove_stale() {
    let is_there = |pid: &str| Path::new("/proc").join(pid).exists();
    for entry in fs_err::read_dir(std::env::temp_dir())
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.strip_prefix(FOLDER)) else {
            continue;
        };
        let note = entry.path().join("postgres/data/postmaster.pid");
        let postmaster = fs_err::read_to_string(note).unwrap_or_default();
        let postmaster = postmaster.lines().next().unwrap_or("none");
        if !is_there(pid) && !is_there(postmaster) {
            let _ = fs_err::remove_dir_all(entry.path());
        }
    }
}
