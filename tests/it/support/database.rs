//! One private Postgres for all tests of this process, and a database for each.
//!
//! The databases are copies of one that was migrated once. Databases, not schemas: NOTIFY is per
//! database, so a schema would wake another test's workers.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use holdfast_db::Database;
use holdfast_postgres::{Options, PrivatePostgres};

const TEMPLATE: &str = "migrated";
const FOLDER: &str = "holdfast-it-";

/// Never dropped: it ends with this process.
static POSTGRES: OnceLock<PrivatePostgres> = OnceLock::new();

/// A database of one test's own.
#[derive(Debug)]
pub(crate) struct TestDatabase {
    name: String,
}

impl TestDatabase {
    /// Copies the migrated one.
    pub(crate) async fn create() -> Self {
        Self::copy(TEMPLATE).await
    }

    /// Makes one without any table.
    pub(crate) async fn create_empty() -> Self {
        Self::copy("template0").await
    }

    async fn copy(template: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let create = format!("CREATE DATABASE {name} TEMPLATE {template}");
        postgres().query("postgres", &create).await.unwrap();
        Self { name }
    }

    pub(crate) fn url(&self) -> String {
        postgres().url(&self.name)
    }

    pub(crate) async fn connect(&self) -> Database {
        Database::connect(&self.url(), 5).await.unwrap()
    }

    /// Runs statements past the service, to make what it would take long to get into, such as a
    /// lease that ran out.
    pub(crate) async fn query(&self, statements: &str) -> Vec<Vec<Option<String>>> {
        self.try_query(statements).await.unwrap()
    }

    /// Runs statements that the database may refuse.
    pub(crate) async fn try_query(
        &self,
        statements: &str,
    ) -> Result<Vec<Vec<Option<String>>>, holdfast_postgres::Error> {
        postgres().query(&self.name, statements).await
    }

    /// Asks for one number.
    pub(crate) async fn number(&self, statement: &str) -> i64 {
        let rows = self.query(statement).await;
        rows[0][0].as_deref().unwrap().parse().unwrap()
    }

    /// Takes it away from whoever is connected and whoever comes, until [`TestDatabase::bring_back`].
    pub(crate) async fn take_away(&self) {
        let name = &self.name;
        let shut = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false");
        postgres().query("postgres", &shut).await.unwrap();
        self.cut().await;
        for statement in [
            format!("ALTER DATABASE {name} RENAME TO {name}_away"),
            format!("ALTER DATABASE {name}_away ALLOW_CONNECTIONS true"),
        ] {
            postgres().query("postgres", &statement).await.unwrap();
        }
    }

    /// Runs statements while it is away.
    pub(crate) async fn query_away(&self, statements: &str) {
        let name = format!("{}_away", self.name);
        postgres().query(&name, statements).await.unwrap();
    }

    pub(crate) async fn bring_back(&self) {
        let name = &self.name;
        let rename = format!("ALTER DATABASE {name}_away RENAME TO {name}");
        postgres().query("postgres", &rename).await.unwrap();
    }

    /// Ends every session.
    pub(crate) async fn cut(&self) {
        let cut = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'",
            self.name
        );
        postgres().query("postgres", &cut).await.unwrap();
    }

    /// Has it take no writes, or take them again, from new sessions on; there are no others then.
    pub(crate) async fn forbid_writes(&self, are_forbidden: bool) {
        let name = &self.name;
        let set =
            format!("ALTER DATABASE {name} SET default_transaction_read_only = {are_forbidden}");
        postgres().query("postgres", &set).await.unwrap();
        self.cut().await;
    }

    /// Drops it, with whatever is still connected.
    pub(crate) async fn drop(self) {
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        postgres().query("postgres", &drop).await.unwrap();
    }
}

/// The folder that holds everything these tests make: short, since a socket lies in it.
pub(crate) fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        remove_stale();
        let root = std::env::temp_dir().join(format!("{FOLDER}{}", std::process::id()));
        // There is one only if a process of the same number was killed.
        let _ = fs_err::remove_dir_all(&root);
        fs_err::create_dir(&root).unwrap();
        // Postgres runs as somebody else when this is root.
        super::files::set_mode(&root, 0o711);
        root
    })
}

fn postgres() -> &'static PrivatePostgres {
    POSTGRES.get_or_init(|| {
        let (sender, receiver) = std::sync::mpsc::channel();
        // Each test has a runtime that ends with it; this one does not.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                sender.send(start().await).unwrap();
                std::future::pending::<()>().await;
            });
        });
        receiver.recv().expect("Postgres did not start")
    })
}

async fn start() -> PrivatePostgres {
    let options = Options {
        durable: false,
        ..Options::new(root().join("postgres"))
    };
    let postgres = PrivatePostgres::start(&options).await.unwrap();
    let create = format!("CREATE DATABASE {TEMPLATE}");
    postgres.query("postgres", &create).await.unwrap();
    let template = Database::connect(&postgres.url(TEMPLATE), 2).await.unwrap();
    holdfast_db::migrate(&template).await.unwrap();
    template.close().await;
    postgres
}

/// Removes what test processes that are gone have left, as far as it is ours to remove.
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
