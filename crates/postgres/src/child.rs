//! Runs a program of Postgres that never outlives this process.
//!
//! The parent of the program is a shell script, the guard, that reads from a pipe of this process.
//! This process writes the names of signals to it, for the program. When the pipe closes because
//! this process has ended, even by `kill -9`, the script shuts the program down. The script only
//! signals its own child, so it cannot hit another process that reuses the process ID. Its own
//! process group protects it from Ctrl-C in a terminal.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin};

use crate::error::{Error, context};
use crate::user::ClusterUser;

/// `$1` is the log, the rest is the command. `INT` requests a fast shutdown of Postgres, `QUIT` an
/// immediate one.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
umask 077
exec 3<&0 </dev/null >>"$1" 2>&1
shift
"$@" 3<&- &
child=$!
{
    while read -r signal <&3; do kill -s "$signal" "$child"; done
    kill -s INT "$child"
    waited=0
    while [ "$waited" -lt 20 ] && kill -0 "$child"; do sleep 1; waited=$((waited + 1)); done
    kill -s QUIT "$child"
} 2>/dev/null &
reader=$!
exec 3<&-
wait "$child"
code=$?
{ kill -s KILL "$reader"; wait "$reader"; } 2>/dev/null
exit "$code"
"#;

/// A running program and the pipe to its guard. Dropping it shuts the program down.
#[derive(Debug)]
pub(crate) struct GuardedChild {
    script: Child,
    signals: ChildStdin,
}

impl GuardedChild {
    /// Starts `program` as `user`, with its output appended to `log`.
    ///
    /// # Errors
    /// When `/bin/sh` cannot be run as that user.
    pub(crate) fn spawn<A: AsRef<OsStr>>(
        user: &ClusterUser,
        log: &Path,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Self, Error> {
        let mut command = Command::new("/bin/sh");
        user.prepare(&mut command);
        command.args(["-c", SCRIPT, "holdfast-postgres"]).arg(log);
        command.arg(program).args(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut command = tokio::process::Command::from(command);
        let failed = |error| context(&error, format_args!("cannot run /bin/sh as {}", user.name));
        let mut script = command.process_group(0).spawn().map_err(failed)?;
        let signals = script
            .stdin
            .take()
            .ok_or_else(|| std::io::Error::other("no pipe to /bin/sh"))?;
        Ok(Self { script, signals })
    }

    /// Sends a signal, such as `INT`, to the program. Does nothing if the program has ended.
    pub(crate) async fn signal(&mut self, name: &str) {
        let line = format!("{name}\n");
        if let Err(error) = self.signals.write_all(line.as_bytes()).await {
            tracing::debug!(%error, signal = name, "the guard of PostgreSQL has ended");
        }
    }

    /// Waits until the program has ended.
    ///
    /// # Errors
    /// An error of the operating system.
    pub(crate) async fn wait(&mut self) -> Result<ExitStatus, Error> {
        // tokio's `wait` would close the child's stdin, but `spawn` has taken it.
        Ok(self.script.wait().await?)
    }

    /// Says whether the program has ended, without waiting.
    ///
    /// # Errors
    /// An error of the operating system.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        Ok(self.script.try_wait()?)
    }
}
