//! The postmaster of a folder, as `postmaster.pid` and `/proc` tell of it.
//!
//! The file may be years old and its number another program's by now. So nothing is believed of it,
//! and nothing signalled, before `/proc` says that the process is a postgres of this very folder.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::Error;
use crate::address::Address;

/// How long an orphan has for a fast shutdown, and then for an immediate one.
const PATIENCE: [(Signal, Duration); 2] = [
    (Signal::INT, Duration::from_secs(20)),
    (Signal::QUIT, Duration::from_secs(10)),
];
const BETWEEN_LOOKS: Duration = Duration::from_millis(25);

/// Stops the postmaster that a killed service left behind in `data`, and removes what would make
/// Postgres take another program for one. The caller holds the cluster.
///
/// # Errors
/// [`Error::Orphan`] when it does not stop within 30 seconds.
pub(crate) async fn stop_orphan(data: &Path, address: &Address) -> Result<(), Error> {
    let Some(pid) = noted(data) else {
        return Ok(());
    };
    if runs_in(pid, data) {
        tracing::warn!(
            pid = pid.as_raw_nonzero().get(),
            "stopping the PostgreSQL of a service that was killed"
        );
        return stop(pid, data).await;
    }
    // Postgres itself copes with a number that nobody has. One that is another program's of the
    // same user would keep it from starting.
    if rustix::process::test_kill_process(pid).is_ok() {
        let socket = address.socket();
        let mut socket_lock = socket.clone().into_os_string();
        socket_lock.push(".lock");
        for path in [
            data.join("postmaster.pid"),
            socket,
            PathBuf::from(socket_lock),
        ] {
            remove_if_there(&path)?;
        }
    }
    Ok(())
}

/// Whether the postmaster of `data` lives and takes connections.
pub(crate) fn is_ready(data: &Path) -> bool {
    let text = read_pid_file(data).unwrap_or_default();
    let ready = text
        .lines()
        .nth(7)
        .is_some_and(|status| status.trim() == "ready");
    ready && parse_pid(&text).is_some_and(|pid| runs_in(pid, data))
}

async fn stop(pid: Pid, data: &Path) -> Result<(), Error> {
    for (signal, patience) in PATIENCE {
        let deadline = tokio::time::Instant::now() + patience;
        if runs_in(pid, data) {
            // It may end between the look and the signal.
            let _ = kill_process(pid, signal);
        }
        while tokio::time::Instant::now() < deadline {
            if !runs_in(pid, data) {
                return Ok(());
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }
    let pid = pid.as_raw_nonzero().get();
    Err(Error::Orphan { pid })
}

fn read_pid_file(data: &Path) -> Option<String> {
    fs_err::read_to_string(data.join("postmaster.pid")).ok()
}

fn noted(data: &Path) -> Option<Pid> {
    parse_pid(&read_pid_file(data)?)
}

fn parse_pid(text: &str) -> Option<Pid> {
    let number: i32 = text.lines().next()?.trim().parse().ok()?;
    // A standalone backend writes its number with a minus: a group to `kill`, so never signalled.
    if number > 1 {
        Pid::from_raw(number)
    } else {
        None
    }
}

/// Whether `pid` is a living postgres that works in `data`.
fn runs_in(pid: Pid, data: &Path) -> bool {
    let process = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    let Ok(arguments) = fs_err::read(process.join("cmdline")) else {
        return false;
    };
    // A process that has ended and waits for its parent has no command line.
    let mut arguments = arguments.split(|byte| *byte == 0);
    let program = arguments.next().unwrap_or_default();
    let name = program
        .rsplit(|byte| *byte == b'/')
        .next()
        .unwrap_or_default();
    if !matches!(name, b"postgres" | b"postmaster") {
        return false;
    }
    match (
        fs_err::metadata(process.join("cwd")),
        fs_err::metadata(data),
    ) {
        (Ok(works_in), Ok(data)) => (works_in.dev(), works_in.ino()) == (data.dev(), data.ino()),
        // Root of a container may not look there, but everybody sees the arguments.
        (Err(_), Ok(_)) => {
            let wanted = data.as_os_str().as_encoded_bytes();
            arguments.skip_while(|argument| *argument != b"-D").nth(1) == Some(wanted)
        }
        _ => false,
    }
}

fn remove_if_there(path: &Path) -> Result<(), Error> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_number_above_one_is_a_postmaster() {
        for (text, expected) in [
            ("4242\n/data\n", Some(4242)),
            ("-4242\n", None),
            ("1\n", None),
            ("0\n", None),
            ("", None),
            ("x\n", None),
        ] {
            let pid = parse_pid(text).map(|pid| pid.as_raw_nonzero().get());
            assert_eq!(pid, expected, "{text:?}");
        }
    }

    #[test]
    fn this_test_is_no_postmaster_of_its_folder() {
        let folder = std::env::current_dir().unwrap();
        assert!(!runs_in(rustix::process::getpid(), &folder));
    }
}
