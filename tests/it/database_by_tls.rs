//! TLS to PostgreSQL: `sslmode=verify-full` connects only to the right server.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use reqwest::Method;

use holdfast_postgres::{PostgresOptions, PrivatePostgres};

use crate::support::client::{Client, send};
use crate::support::process::{Process, holdfast, run};
use crate::support::tls::Issued;
use crate::support::{eventually, files, postgres};

const PASSWORD: &str = "a-password-that-shows-nowhere";

/// A PostgreSQL on a loopback port that accepts only TLS connections. It ends when dropped, or when
/// this process ends.
struct OnTheNetwork {
    guard: Child,
    port: u16,
}

impl OnTheNetwork {
    /// Creates a cluster with an account and a database `holdfast`, and starts it with this
    /// certificate.
    async fn start(folder: &Path, issued: &Issued) -> Self {
        let cluster = folder.join("postgres");
        let options = PostgresOptions {
            durable: false,
            ..PostgresOptions::new(&cluster)
        };
        let private = PrivatePostgres::start(&options).await.unwrap();
        for statement in [
            &format!("CREATE ROLE holdfast LOGIN PASSWORD '{PASSWORD}'"),
            "CREATE DATABASE holdfast OWNER holdfast",
        ] {
            private.query("postgres", statement).await.unwrap();
        }
        let data = cluster.join("data");
        let note = fs_err::read_to_string(data.join("postmaster.pid")).unwrap();
        let postmaster = note.lines().next().unwrap();
        let program = fs_err::read_link(format!("/proc/{postmaster}/exe")).unwrap();
        private.stop().await.unwrap();

        let owner = fs_err::metadata(&data).unwrap();
        let own = |name: &str, text: &str| -> PathBuf {
            let path = data.join(name);
            fs_err::write(&path, text).unwrap();
            files::set_mode(&path, 0o600);
            let (user, group) = (Some(owner.uid()), Some(owner.gid()));
            std::os::unix::fs::chown(&path, user, group).unwrap();
            path
        };
        own("server.crt", &issued.certificate.pem());
        own("server.key", &issued.key.serialize_pem());
        own(
            "pg_hba.conf",
            "hostssl all all 127.0.0.1/32 scram-sha-256\n",
        );
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut guard = Command::new("sh");
        guard.args([
            "-c",
            "exec 3<&0; \"$@\" & cat <&3; kill -INT $!; wait",
            "sh",
        ]);
        guard.arg(program).arg("-D").arg(&data);
        guard.args(["-p", &port.to_string(), "-k", ""]);
        guard.args(["-c", "listen_addresses=127.0.0.1", "-c", "ssl=on"]);
        guard.args(["-c", "fsync=off"]).current_dir("/");
        if owner.uid() != rustix::process::geteuid().as_raw() {
            guard.uid(owner.uid()).gid(owner.gid());
        }
        let log = fs_err::File::create(folder.join("postgres.log")).unwrap();
        guard.stdin(Stdio::piped()).stdout(Stdio::null());
        guard.stderr(log.into_file());
        let guard = guard.spawn().unwrap();
        Self { guard, port }
    }

    fn url(&self, host: &str, parameters: &str) -> String {
        let port = self.port;
        format!("postgres://holdfast:{PASSWORD}@{host}:{port}/holdfast?{parameters}")
    }
}

impl Drop for OnTheNetwork {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_right_database_is_reached_by_tls() {
    let folder = files::scratch();
    let issued = Issued::to("127.0.0.1", "the authority of the database");
    let other = Issued::to("127.0.0.1", "another authority");
    let [trusted, wrong] = [("ca.pem", &issued), ("other.pem", &other)].map(|(name, issued)| {
        let path = folder.path().join(name);
        fs_err::write(&path, &issued.authority).unwrap();
        path.to_str().unwrap().to_owned()
    });
    let database = OnTheNetwork::start(folder.path(), &issued).await;
    let verified = format!("sslmode=verify-full&sslrootcert={trusted}");
    let url = database.url("127.0.0.1", &verified);
    eventually("Postgres answers", async || {
        postgres::ask(&url, "SELECT 1").await.ok()
    })
    .await;

    let data = folder.path().join("data");
    let command = |url: &str, arguments: &[&str]| {
        let mut command = holdfast(&[("database.url", url)]);
        command.args(arguments).env("HOLDFAST_DATA", &data);
        command
    };
    let migrated = run(&mut command(&url, &["migrate"]));
    assert_eq!(
        migrated.stdout, "the schema is up to date\n",
        "{migrated:?}"
    );
    let mut serve = command(&url, &["serve", "--listen", "127.0.0.1:0"]);
    let mut serve = Process::start(&mut serve, folder.path());
    let ready = format!("{}/readyz", serve.url().await);
    let anonymous = Client::new(&ready, "x", None);
    assert_eq!(send(anonymous.plain(Method::GET, &ready)).await.status, 200);
    let sessions = "SELECT count(*), bool_and(ssl) FROM pg_stat_ssl
                    JOIN pg_stat_activity USING (pid) WHERE usename = 'holdfast' \
                    AND backend_type = 'client backend'";
    let rows = postgres::ask(&url, sessions).await.unwrap();
    assert_eq!(rows[0][1].as_deref(), Some("t"), "{rows:?}");
    assert_ne!(rows[0][0].as_deref(), Some("1"), "the service's are there");
    drop(serve);

    let stranger = format!("sslmode=verify-full&sslrootcert={wrong}");
    let nowhere = "sslmode=verify-full&sslrootcert=/nowhere/ca.pem".to_owned();
    for (host, parameters, told) in [
        ("127.0.0.1", stranger, "UnknownIssuer"),
        ("localhost", verified, "not valid for name"),
        ("127.0.0.1", nowhere, "file `/nowhere/ca.pem`"),
        ("127.0.0.1", "sslmode=disable".to_owned(), "no encryption"),
    ] {
        let url = database.url(host, &parameters);
        for arguments in [&["migrate"][..], &["migrate", "--check"], &["worker"]] {
            let ended = run(&mut command(&url, arguments));
            let text = ended.failure();
            assert!(text.contains(told), "{arguments:?} {parameters}: {text}");
            assert!(!text.contains(PASSWORD), "{text}");
        }
    }
}
