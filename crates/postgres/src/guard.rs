//! Runs a program of Postgres so that it never outlives this process.
//!
//! The program's parent is a small shell script that holds the reading end of a pipe from us. What
//! we write there are names of signals for the program; when the pipe ends because this process is
//! gone, even by `kill -9`, the script shuts the program down. It signals its own child, so no other
//! process can be hit by a number used anew. The group of its own keeps Ctrl-C in a terminal away.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin};

use crate::account::Account;
use crate::error::{Error, context};

/// `$1` is the log, the rest the command. `INT` is Postgres's fast shutdown, `QUIT` its immediate one.
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

/// A running program and the pipe that keeps it alive; dropping it shuts the program down.
#[derive(Debug)]
pub(crate) struct Guard {
    script: Child,
    orders: ChildStdin,
}

impl Guard {
    /// Starts `program` as `account`, with everything it writes going to `log`.
    ///
    /// # Errors
    /// When `/bin/sh` cannot be run as that user.
    pub(crate) fn spawn<A: AsRef<OsStr>>(
        account: &Account,
        log: &Path,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Self, Error> {
        let mut command = Command::new("/bin/sh");
        account.prepare(&mut command);
        command.args(["-c", SCRIPT, "holdfast-postgres"]).arg(log);
        command.arg(program).args(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut command = tokio::process::Command::from(command);
        let failed = |error| {
            context(
                &error,
                format_args!("cannot run /bin/sh as {}", account.name),
            )
        };
        let mut script = command.process_group(0).spawn().map_err(failed)?;
        let orders = script
            .stdin
            .take()
            .ok_or_else(|| std::io::Error::other("no pipe to /bin/sh"))?;
        Ok(Self { script, orders })
    }

    /// Sends a signal, such as `INT`, to the program. One that has ended is no error.
    pub(crate) async fn signal(&mut self, name: &str) {
        let order = format!("{name}\n");
        if let Err(error) = self.orders.write_all(order.as_bytes()).await {
            tracing::debug!(%error, signal = name, "PostgreSQL's guard takes no more orders");
        }
    }

    /// Waits for the program to end by itself.
    ///
    /// # Errors
    /// When the operating system cannot tell.
    pub(crate) async fn wait(&mut self) -> Result<ExitStatus, Error> {
        // tokio's own `wait` would close the pipe first, if it still held it: it was taken above.
        Ok(self.script.wait().await?)
    }

    /// Says whether the program has ended, without waiting.
    ///
    /// # Errors
    /// When the operating system cannot tell.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        Ok(self.script.try_wait()?)
    }
}
