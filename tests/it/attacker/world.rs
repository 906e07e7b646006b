//! What is attacked: a service in its own process, three servers, and files that must stay unused.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::Value;

use super::program::{Mode, PLAN, Plan, SAYS, TEST};
use crate::faults::full_disks::SmallDisk;
use crate::support::client::Client;
use crate::support::files;
use crate::support::process::{Process, holdfast, run};

/// The users of the two attackers.
const USERS: [u32; 2] = [65_534, 65_533];
/// Enough for all requests of a run; the throttle has its own tests.
const SETTINGS: [(&str, &str); 3] = [
    ("limits.backups_per_server", "10000"),
    ("limits.create_throttle_count", "0"),
    ("worker.concurrency", "3"),
];

pub(super) struct World {
    pub(super) folder: tempfile::TempDir,
    pub(super) service: Process,
    /// An ordinary directory that is attacked.
    pub(super) plain: Server,
    /// A mount point that is attacked. Staging is inside it.
    pub(super) mounted: Server,
    /// A server that is not attacked.
    pub(super) bystander: Server,
    /// What only root can read. It must never be in an archive.
    pub(super) secret: String,
    token: String,
    _disk: SmallDisk,
}

/// A server of the service.
pub(super) struct Server {
    pub(super) uuid: String,
    pub(super) directory: PathBuf,
    pub(super) owner: Client,
}

impl World {
    /// Returns none, with the reason on its output, where this is not possible.
    pub(super) async fn build(seed: u64) -> Option<Self> {
        let folder = files::scratch();
        // Attackers and PostgreSQL must be able to enter it.
        files::set_mode(folder.path(), 0o711);
        let servers = folder.path().join("servers");
        fs_err::create_dir(&servers).unwrap();
        files::set_mode(&servers, 0o755);
        let directory = |name: &str| servers.join(name);
        let disk = SmallDisk::mount(directory("mounted"), 64)?;
        for (name, user) in [("plain", USERS[0]), ("mounted", USERS[1]), ("bystander", 0)] {
            files::make_server(&directory(name));
            give(&directory(name), user);
        }
        let secret = format!("secret-that-only-root-can-read-{seed:016x}");
        make_outside(&folder.path().join("outside"), &secret);

        let data = folder.path().join("data");
        let (service, url) = Process::up(&data, &SETTINGS).await;
        let admin = |arguments: &[&str]| admin(&data, arguments);
        admin(&["user", "create", "--email", "owner@example.com"]);
        let key = admin(&["key", "create", "--user", "owner@example.com"]);
        let token = key["token"].as_str().unwrap().to_owned();
        let server = |name: &str| {
            let directory = directory(name);
            let path = directory.to_str().unwrap();
            let owner = ["server", "create", "--owner", "owner@example.com"];
            let made = admin(&[&owner[..], &["--name", name, "--dir", path]].concat());
            let uuid = made["uuid"].as_str().unwrap().to_owned();
            Server {
                owner: Client::new(&url, &uuid, Some(token.clone())),
                uuid,
                directory,
            }
        };
        Some(Self {
            plain: server("plain"),
            mounted: server("mounted"),
            bystander: server("bystander"),
            folder,
            service,
            secret,
            token,
            _disk: disk,
        })
    }

    pub(super) fn outside(&self) -> PathBuf {
        self.folder.path().join("outside")
    }

    /// The folder of the archives.
    pub(super) fn archives(&self) -> PathBuf {
        self.folder.path().join("data/backups")
    }

    /// Runs a command of an administrator.
    pub(super) fn admin(&self, arguments: &[&str]) -> Value {
        admin(&self.folder.path().join("data"), arguments)
    }

    /// Starts the attacker of a server. It waits until it is told what to do.
    pub(super) fn attack(&self, server: &Server, seed: u64, user: usize) -> Attacker {
        let url = server
            .owner
            .request(reqwest::Method::GET, "")
            .build()
            .unwrap();
        let address = url.url().authority().to_owned();
        Attacker::start(
            &Plan {
                seed,
                directory: server.directory.clone(),
                targets: vec![
                    self.outside(),
                    self.outside().join("below"),
                    self.bystander.directory.clone(),
                    self.folder.path().join("data"),
                ],
                api: address,
                token: self.token.clone(),
                server: server.uuid.clone(),
            },
            USERS[user],
        )
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.service.log();
            let jobs = log
                .lines()
                .filter(|line| !line.contains("answered a request"));
            let lines: Vec<&str> = jobs.collect();
            let last = lines[lines.len().saturating_sub(100)..].join("\n");
            super::report(&format!("the end of the log of the service:\n{last}"));
        }
    }
}

fn admin(data: &Path, arguments: &[&str]) -> Value {
    let mut command = holdfast(&[]);
    command.args(["admin", "--json", "--data"]).arg(data);
    run(command.args(arguments)).json()
}

/// Gives a directory and everything in it to a user.
fn give(directory: &Path, user: u32) {
    let mut chown = Command::new("chown");
    chown
        .args(["-hR", &format!("{user}:{user}")])
        .arg(directory);
    assert!(chown.status().unwrap().success());
}

/// Files that only root can reach. A link that is followed to them gives something to the attacker.
fn make_outside(outside: &Path, secret: &str) {
    let names = [
        "public",
        "secret",
        "level.dat",
        "below/secret",
        "below/level.dat",
        "region/r.0.0.mca",
    ];
    for name in names {
        files::write(&outside.join(name), secret.as_bytes());
        files::set_mode(&outside.join(name), 0o600);
    }
    for folder in ["", "below", "region"] {
        // The attacker follows its own links too. It must not be able to use these files itself.
        files::set_mode(&outside.join(folder), 0o700);
    }
}

/// A process of another user. It ends when it is dropped.
pub(super) struct Attacker {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<std::process::ChildStdout>,
}

impl Attacker {
    fn start(plan: &Plan, user: u32) -> Self {
        // The program is started by its handle, since its path may be closed to other users.
        let mut command = Command::new("/proc/self/exe");
        command
            .args(["--exact", TEST, "--nocapture", "--test-threads=1"])
            .env(PLAN, plan.to_json())
            .current_dir(&plan.directory)
            .uid(user)
            .gid(user)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        Self {
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    /// Changes what it may touch. Returns once no attack of the previous mode runs.
    pub(super) fn become_(&mut self, mode: Mode) {
        writeln!(self.input.as_mut().unwrap(), "{}", mode.name()).unwrap();
        let heard = tokio::task::block_in_place(|| self.hear());
        assert_eq!(heard, mode.name());
    }

    /// Ends it. Returns what it says it has done.
    pub(super) fn end(mut self) -> Value {
        drop(self.input.take());
        let record = self.hear();
        assert!(self.child.wait().unwrap().success());
        serde_json::from_str(&record).unwrap()
    }

    /// The next line that is its own.
    fn hear(&mut self) -> String {
        loop {
            let mut line = String::new();
            let length = self.output.read_line(&mut line).unwrap();
            assert_ne!(length, 0, "the attacker has ended");
            // The first line continues one of the test harness.
            if let Some((_, said)) = line.split_once(SAYS) {
                return said.trim_end().to_owned();
            }
        }
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
