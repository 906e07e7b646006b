//! The binary `holdfast` from outside: commands that end, and processes that receive signals.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal};
use serde_json::Value;

use super::app::{Setting, variable};
use super::eventually;

/// The output and exit code of a command.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A process of the service; killed when dropped.
pub(crate) struct Process {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// Starts a command line without the variables of this environment.
pub(crate) fn holdfast(settings: &[Setting<'_>]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"HOLDFAST") {
            command.env_remove(name);
        }
    }
    // Tests poll more often than users.
    command.envs([variable(&("http.rate_limit_per_minute", "0"))]);
    command.envs(settings.iter().map(variable));
    command.stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Ended {
    let output = command.output().unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Ended {
    /// The single JSON value on stdout of a successful command.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert_eq!(self.stderr, "", "nothing else is printed");
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// The single line on stderr of a failed command, without the program's name.
    pub(crate) fn failure(&self) -> &str {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert_eq!(self.stdout, "", "a failure belongs on stderr");
        let line = self
            .stderr
            .strip_prefix("holdfast: ")
            .unwrap_or_else(|| panic!("not a message of holdfast: {self:?}"))
            .trim_end_matches('\n');
        assert!(!line.contains('\n'), "more than one line: {line}");
        line
    }
}

impl Process {
    /// Starts a command that keeps running. Its output goes to files in `folder`.
    pub(crate) fn start(command: &mut Command, folder: &Path) -> Self {
        let place = |kind: &str| {
            let name = format!("{}-{kind}", rand::random::<u32>());
            folder.join(name)
        };
        let (stdout, stderr) = (place("stdout"), place("stderr"));
        command.stdout(fs_err::File::create(&stdout).unwrap().into_file());
        command.stderr(fs_err::File::create(&stderr).unwrap().into_file());
        Self {
            child: command.spawn().unwrap(),
            stdout,
            stderr,
        }
    }

    /// Starts `holdfast up` on `data` and a free port, waits until it answers, and returns its URL,
    /// too.
    pub(crate) async fn up(data: &Path, settings: &[Setting<'_>]) -> (Self, String) {
        let mut command = holdfast(settings);
        command
            .args(["up", "--listen", "127.0.0.1:0", "--data"])
            .arg(data);
        let mut process = Self::start(&mut command, data.parent().unwrap());
        let url = process.url().await;
        (process, url)
    }

    /// Waits for the line with the address of the service.
    pub(crate) async fn url(&mut self) -> String {
        eventually("the service answers", async || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", self.log());
            let text = self.stdout();
            let line = text.strip_suffix('\n')?;
            let (_, url) = line.split_once(" answers at ").unwrap();
            Some(url.to_owned())
        })
        .await
    }

    pub(crate) fn stdout(&self) -> String {
        fs_err::read_to_string(&self.stdout).unwrap()
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> String {
        fs_err::read_to_string(&self.stderr).unwrap()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its open files, as paths. A removed file ends with ` (deleted)`.
    pub(crate) fn open_files(&self) -> Vec<PathBuf> {
        let folder = format!("/proc/{}/fd", self.child.id());
        fs_err::read_dir(folder)
            .into_iter()
            .flatten()
            .filter_map(|entry| fs_err::read_link(entry.ok()?.path()).ok())
            .collect()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        rustix::process::kill_process(pid.unwrap(), signal).unwrap();
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        eventually("the process has ended", async || {
            self.child.try_wait().unwrap()
        })
        .await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, as a test intends.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
