//! `PgBouncer` between Holdfast and PostgreSQL: sessions are needed, and their absence is noticed.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use super::{command, refused};
use crate::support::app::App;
use crate::support::database::{TestDatabase, root};
use crate::support::process::{Process, holdfast};
use crate::support::{eventually, files, postgres, skipped};

/// A `PgBouncer` in front of the PostgreSQL of the tests. It ends when dropped.
struct PgBouncer {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl PgBouncer {
    /// Starts it; `None`, with a message, where that is not possible.
    async fn start(mode: &str, more: &str) -> Option<Self> {
        let socket = root().join("postgres/.s.PGSQL.5432");
        let Ok(owner) = fs_err::metadata(&socket) else {
            skipped("PgBouncer needs the private PostgreSQL of the tests");
            return None;
        };
        let programs = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"];
        let Some(program) = programs.iter().find(|path| Path::new(path).exists()) else {
            skipped("pgbouncer is not installed");
            return None;
        };
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let folder = files::scratch();
        files::set_mode(folder.path(), 0o711);
        let settings = folder.path().join("pgbouncer.ini");
        let host = root().join("postgres");
        let text = format!(
            "[databases]\n* = host={} port=5432 user=postgres\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = {mode}\n{more}\n",
            host.display()
        );
        fs_err::write(&settings, text).unwrap();
        let mut command = Command::new(program);
        command.arg(&settings).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        // PgBouncer does not run as root, and only the owner of the socket may connect to it.
        if owner.uid() != rustix::process::geteuid().as_raw() {
            command.uid(owner.uid()).gid(owner.gid());
        }
        let child = command.current_dir("/").spawn().unwrap();
        Some(Self {
            child,
            port,
            _folder: folder,
        })
    }

    /// The URL of a database through it, once it answers.
    async fn url(&self, database: &TestDatabase) -> String {
        let (port, name) = (self.port, database.name());
        let url = format!("postgres://postgres@127.0.0.1:{port}/{name}?sslmode=disable");
        eventually("PgBouncer answers", async || {
            postgres::ask(&url, "SELECT 1").await.ok()
        })
        .await;
        url
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pgbouncer_that_shares_sessions_is_refused_with_one_sentence() {
    let database = TestDatabase::create().await;
    for (mode, more) in [
        ("transaction", ""),
        ("transaction", "server_round_robin = 1"),
        ("statement", ""),
    ] {
        let Some(pooler) = PgBouncer::start(mode, more).await else {
            break;
        };
        let url = pooler.url(&database).await;
        let sentence = refused(&url);
        assert!(
            sentence.contains("pool_mode = session") && !sentence.contains("sqlx_s_"),
            "{mode} {more}: {sentence}"
        );
    }
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pgbouncer_that_keeps_sessions_is_fine() {
    let app = App::without_worker(&[]).await;
    files::make_server(&app.directory);
    if let Some(pooler) = PgBouncer::start("session", "default_pool_size = 60").await {
        let url = pooler.url(app.sql()).await;
        assert_eq!(command(&url, &["migrate"]).code, Some(0));
        let folder = files::scratch();
        let start = |arguments: &[&str]| {
            let mut command = holdfast(&[("database.url", &url)]);
            command.args(arguments).arg("--data");
            command.arg(folder.path().join("data"));
            Process::start(&mut command, folder.path())
        };
        let mut serve = start(&["serve", "--listen", "127.0.0.1:0"]);
        let base_url = serve.url().await;
        let worker = start(&["worker"]);
        let owner = app.as_owner().at(&base_url);
        for _ in 0..3 {
            let uuid = owner.create(json!({})).await.uuid();
            assert_eq!(
                app.ended(&uuid).await["status"],
                "completed",
                "{}",
                worker.log()
            );
        }
        let leader = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted";
        eventually("a worker leads", async || {
            (app.sql().number(leader).await > 0).then_some(())
        })
        .await;
        let listening = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
        assert!(app.sql().number(listening).await > 0);
    }
    app.stop().await;
}
