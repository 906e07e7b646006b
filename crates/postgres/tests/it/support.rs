//! Helpers of the cluster tests: folders, processes, and waiting for a condition.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use holdfast_postgres::PostgresOptions;

/// A temporary data folder, private to its owner, for one cluster.
pub(crate) struct Folder {
    root: tempfile::TempDir,
    name: String,
}

impl Folder {
    pub(crate) fn new() -> Self {
        Self::named("postgres")
    }

    pub(crate) fn named(name: &str) -> Self {
        let closed = std::fs::Permissions::from_mode(0o700);
        let root = tempfile::Builder::new()
            .permissions(closed)
            .tempdir()
            .unwrap();
        Self {
            root,
            name: name.to_owned(),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn cluster(&self) -> PathBuf {
        self.root.path().join(&self.name)
    }

    pub(crate) fn options(&self) -> PostgresOptions {
        PostgresOptions {
            durable: false,
            ..PostgresOptions::new(self.cluster())
        }
    }

    /// Makes the folder accessible to every user.
    pub(crate) fn open(&self) {
        let open = std::fs::Permissions::from_mode(0o755);
        fs_err::set_permissions(self.root.path(), open).unwrap();
    }

    pub(crate) fn log(&self) -> String {
        fs_err::read_to_string(self.cluster().join("postgres.log")).unwrap_or_default()
    }

    /// The names in the cluster's folder; none when it does not exist.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs_err::read_dir(self.cluster()).into_iter().flatten();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

/// A process that owns a cluster and can be killed: `with-postgres DIR -- cat`.
pub(crate) struct OwnerProcess(std::process::Child);

impl OwnerProcess {
    pub(crate) fn start(folder: &Folder) -> Self {
        let mut command = Command::new(with_postgres());
        // `cat` ends when the pipe closes, so no process is left when the owner is killed.
        let script = "echo running; exec cat";
        command
            .arg(folder.cluster())
            .args(["--", "sh", "-c", script]);
        let mut owner = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(owner.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "running\n");
        Self(owner)
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The example that Cargo builds beside the tests.
pub(crate) fn with_postgres() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test
        .ancestors()
        .nth(2)
        .unwrap()
        .join("examples/with-postgres");
    assert!(
        path.exists(),
        "build it: cargo build -p holdfast-postgres --examples"
    );
    path
}

/// Waits until a condition is true, for at most 25 seconds.
pub(crate) async fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_true() {
        assert!(
            begun.elapsed() < Duration::from_secs(25),
            "{what}: not within 25 s"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(crate) fn postmaster_of(folder: &Folder) -> Option<Pid> {
    let text = fs_err::read_to_string(folder.cluster().join("data/postmaster.pid")).ok()?;
    Pid::from_raw(text.lines().next()?.parse().ok()?)
}

/// Says whether a process is running.
pub(crate) fn is_alive(pid: Pid) -> bool {
    let cmdline = fs_err::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
    cmdline.is_ok_and(|cmdline| !cmdline.is_empty())
}

pub(crate) fn signal(pid: Pid, signal: Signal) {
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Kills both shells of the guard of a postmaster. The one that reads signals is killed first,
/// because it would shut the postmaster down.
pub(crate) fn kill_guards_of(postmaster: Pid) {
    let guard = parent_of(postmaster).unwrap();
    for entry in fs_err::read_dir("/proc").unwrap() {
        let name = entry.unwrap().file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.parse().ok())
            .and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|pid| *pid != postmaster && parent_of(*pid) == Some(guard)) {
            signal(pid, Signal::KILL);
        }
    }
    signal(guard, Signal::KILL);
}

fn parent_of(pid: Pid) -> Option<Pid> {
    let status = fs_err::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    Pid::from_raw(line.trim().parse().ok()?)
}

/// Returns a command that runs as the user of Postgres.
pub(crate) fn command_as_postgres(program: &str) -> Command {
    let mut command = Command::new(program);
    if is_root() {
        let passwd = fs_err::read_to_string("/etc/passwd").unwrap();
        let uid_of = |name: &str| {
            let line = passwd
                .lines()
                .find_map(|line| line.strip_prefix(&format!("{name}:x:")))?;
            line.split(':').next()?.parse().ok()
        };
        command.uid(uid_of("postgres").or_else(|| uid_of("nobody")).unwrap());
    }
    command
}
