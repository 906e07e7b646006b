//! Controls servers by commands from the settings.
//!
//! Commands run without a shell. `{server}` in an argument and the variable `HOLDFAST_SERVER` are
//! the server's UUID, which holds no character that a program could misread. `{command}` and
//! `HOLDFAST_COMMAND` are the line for the console; it may hold any character but control
//! characters, so it must not be passed to a shell as a part of a script.

use std::ffi::OsString;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use holdfast_domain::ServerId;

use super::PowerError;

/// The timeout of the command that says whether a server runs.
const RUNNING_TIMEOUT: Duration = Duration::from_secs(15);
/// How much of a command's output is kept; the end of it.
const OUTPUT_BYTES_MAX: usize = 2048;
/// How long to read output after a command has ended: another process may hold the pipe open.
const OUTPUT_TIMEOUT: Duration = Duration::from_millis(500);

/// The commands that control a server and say whether it runs.
#[derive(Clone, Debug)]
pub struct CommandPower {
    /// Program and arguments. Stops a server, and ends once it has stopped.
    pub stop: Vec<String>,
    /// Program and arguments. Exits with 0 if the server runs, with 1 or 3 if not (3 as systemctl
    /// does).
    pub running: Vec<String>,
    /// Program and arguments. Starts a server. Empty: schedules can't start servers.
    pub start: Vec<String>,
    /// Program and arguments. Stops a server at once. Empty: schedules can't kill servers.
    pub kill: Vec<String>,
    /// Program and arguments. Sends the line `{command}` to a server's console. Empty: schedules
    /// can't send commands.
    pub console: Vec<String>,
    /// The timeout of each but `running`.
    pub timeout: Duration,
    /// The variable `PATH`, the only one that is passed on.
    pub path: Option<OsString>,
}

impl CommandPower {
    pub(super) async fn is_running(&self, server: ServerId) -> Result<bool, PowerError> {
        let (status, output) = self
            .run(&self.running, server, None, RUNNING_TIMEOUT)
            .await?;
        match status.code() {
            Some(0) => Ok(true),
            Some(1 | 3) => Ok(false),
            _ => Err(failed(&self.running, status, output)),
        }
    }

    pub(super) async fn stop(&self, server: ServerId) -> Result<(), PowerError> {
        self.succeed(&self.stop, server, None).await
    }

    pub(super) async fn start(&self, server: ServerId) -> Result<(), PowerError> {
        self.succeed(&self.start, server, None).await
    }

    pub(super) async fn kill(&self, server: ServerId) -> Result<(), PowerError> {
        self.succeed(&self.kill, server, None).await
    }

    pub(super) async fn send_command(
        &self,
        server: ServerId,
        line: &str,
    ) -> Result<(), PowerError> {
        self.succeed(&self.console, server, Some(line)).await
    }

    async fn succeed(
        &self,
        words: &[String],
        server: ServerId,
        line: Option<&str>,
    ) -> Result<(), PowerError> {
        let (status, output) = self.run(words, server, line, self.timeout).await?;
        if status.success() {
            Ok(())
        } else {
            Err(failed(words, status, output))
        }
    }

    async fn run(
        &self,
        words: &[String],
        server: ServerId,
        line: Option<&str>,
        limit: Duration,
    ) -> Result<(ExitStatus, String), PowerError> {
        let program = program(words);
        let uuid = server.to_string();
        let arguments = words.iter().skip(1).map(|word| {
            // The line comes last, so that no `{server}` in it is replaced.
            let word = word.replace("{server}", &uuid);
            line.map_or(word.clone(), |line| word.replace("{command}", line))
        });
        let mut command = Command::new(&program);
        command
            .args(arguments)
            .env_clear()
            .env("HOLDFAST_SERVER", &uuid)
            .envs(line.map(|line| ("HOLDFAST_COMMAND", line)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A separate process group, so that its child processes can be killed with it.
            .process_group(0)
            .kill_on_drop(true);
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        let mut child = command.spawn().map_err(|source| PowerError::Start {
            program: program.clone(),
            source,
        })?;
        let mut group = ProcessGroup::of(child.id());
        let output = Arc::new(Mutex::new(Vec::new()));
        let mut readers = tokio::task::JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            readers.spawn(collect_output(stdout, Arc::clone(&output)));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.spawn(collect_output(stderr, Arc::clone(&output)));
        }
        let ended = tokio::time::timeout(limit, child.wait()).await;
        if ended.is_err() {
            group.kill();
        }
        let all_read = async { while readers.join_next().await.is_some() {} };
        let _in_time = tokio::time::timeout(OUTPUT_TIMEOUT, all_read).await;
        let output = format_output(&output.lock().unwrap_or_else(PoisonError::into_inner));
        match ended {
            Ok(Ok(status)) => {
                group.release();
                Ok((status, output))
            }
            Ok(Err(source)) => Err(PowerError::Start { program, source }),
            Err(_) => Err(PowerError::TooSlow {
                program,
                seconds: limit.as_secs(),
                output,
            }),
        }
    }
}

/// A command and its child processes. Killed on drop, unless released.
struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    fn of(child: Option<u32>) -> Self {
        let number = child.and_then(|child| i32::try_from(child).ok());
        Self(number.and_then(Pid::from_raw))
    }

    fn kill(&mut self) {
        if let Some(leader) = self.0.take() {
            // Fails if the group has ended, which is fine.
            let _killed = rustix::process::kill_process_group(leader, Signal::KILL);
        }
    }

    fn release(&mut self) {
        self.0 = None;
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Reads to the end, and keeps the last [`OUTPUT_BYTES_MAX`] bytes.
async fn collect_output(mut from: impl AsyncRead + Unpin, to: Arc<Mutex<Vec<u8>>>) {
    let mut piece = [0; 1024];
    while let Ok(count) = from.read(&mut piece).await {
        if count == 0 {
            return;
        }
        let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
        to.extend_from_slice(&piece[..count]);
        let surplus = to.len().saturating_sub(OUTPUT_BYTES_MAX);
        to.drain(..surplus);
    }
}

fn format_output(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    match text.trim() {
        "" => String::new(),
        text => format!(": {text}"),
    }
}

fn program(words: &[String]) -> String {
    words.first().cloned().unwrap_or_default()
}

fn failed(words: &[String], status: ExitStatus, output: String) -> PowerError {
    PowerError::Failed {
        program: program(words),
        status,
        output,
    }
}

#[cfg(test)]
mod tests {
    use holdfast_domain::error_chain::chain;

    use super::*;

    fn shell(script: &str, limit: Duration) -> CommandPower {
        CommandPower {
            stop: ["/bin/sh", "-c", script, "stop", "{server}"]
                .map(str::to_owned)
                .to_vec(),
            start: Vec::new(),
            kill: Vec::new(),
            console: Vec::new(),
            running: ["/bin/sh", "-c", script, "running", "id={server}"]
                .map(str::to_owned)
                .to_vec(),
            timeout: limit,
            path: Some("/usr/bin:/bin".into()),
        }
    }

    const SERVER: ServerId = ServerId(uuid::Uuid::nil());
    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn the_exit_status_says_whether_a_server_runs() {
        for (script, expected) in [
            ("exit 0", Some(true)),
            ("exit 1", Some(false)),
            ("exit 3", Some(false)),
            ("exit 2", None),
            ("kill -9 $$", None),
        ] {
            let found = shell(script, LONG).is_running(SERVER).await;
            assert_eq!(found.ok(), expected, "{script}");
        }
        let missing = CommandPower {
            running: vec!["/nowhere/at/all".to_owned()],
            ..shell("", LONG)
        };
        let error = missing.is_running(SERVER).await.expect_err("no program");
        assert!(chain(&error).contains("`/nowhere/at/all` can't be run"));
    }

    #[tokio::test]
    async fn a_command_gets_the_servers_uuid_and_no_other_variable_than_path() {
        let names = "env | cut -d= -f1 | grep -v -e PWD -e _ | sort | tr '\\n' ' '";
        let script = format!(
            "test \"$1\" = \"id=$HOLDFAST_SERVER\" || exit 9; \
             test \"$({names})\" = 'PATH ' || exit 8"
        );
        let script = script.as_str();
        assert!(shell(script, LONG).is_running(SERVER).await.is_ok());
    }

    #[tokio::test]
    async fn the_error_of_a_command_ends_with_the_last_part_of_its_output() {
        let script = "head -c 100000 /dev/zero | tr '\\0' x; echo last words >&2; exit 7";
        let error = shell(script, LONG)
            .stop(SERVER)
            .await
            .expect_err("it fails");
        let text = error.to_string();
        assert!(text.contains("exit status: 7"), "{text}");
        assert!(text.len() < OUTPUT_BYTES_MAX + 100, "{}", text.len());
        let error = shell("echo why >&2; exit 7", LONG).stop(SERVER).await;
        assert!(error.expect_err("it fails").to_string().ends_with(": why"));
    }

    #[tokio::test]
    async fn a_command_that_exceeds_its_timeout_is_killed_with_its_child_processes() {
        let folder = tempfile::tempdir().expect("a folder");
        let note = folder.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", note.display());
        let limit = Duration::from_secs(1);
        let error = shell(&script, limit)
            .stop(SERVER)
            .await
            .expect_err("killed");
        assert!(
            matches!(error, PowerError::TooSlow { seconds: 1, .. }),
            "{error}"
        );
        let child = fs_err::read_to_string(note).expect("a process");
        let state = || {
            let stat = fs_err::read_to_string(format!("/proc/{}/stat", child.trim()));
            stat.map(|stat| stat.split(' ').nth(2).map(str::to_owned))
        };
        while let Ok(Some(state)) = state() {
            // A zombie has ended; its parent has only not collected it.
            if state == "Z" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
