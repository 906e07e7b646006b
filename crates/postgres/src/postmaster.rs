//! The postmaster of a cluster, found by `postmaster.pid` and `/proc`.
//!
//! The file can be old, and its process ID can belong to another program. So a process is only
//! signalled after `/proc` has confirmed that it is a postgres of this cluster.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::Error;
use crate::address::Address;

/// The signals that stop an orphaned postmaster, each with the time for it: a fast shutdown, then
/// an immediate one.
const STOP_SEQUENCE: [(Signal, Duration); 2] = [
    (Signal::INT, Duration::from_secs(20)),
    (Signal::QUIT, Duration::from_secs(10)),
];
const POLL_INTERVAL: Duration = Duration::from_millis(25);

/// Stops the postmaster of a killed service in `data`. Removes the files that would make Postgres
/// mistake another program for a postmaster. The caller must hold the owner lock.
///
/// # Errors
/// [`Error::Orphan`] when it does not stop within 30 seconds.
pub(crate) async fn stop_orphan(data: &Path, address: &Address) -> Result<(), Error> {
    let Some(pid) = recorded_pid(data) else {
        return Ok(());
    };
    if runs_in(pid, data) {
        tracing::warn!(
            pid = pid.as_raw_nonzero().get(),
            "stopping the PostgreSQL of a killed service"
        );
        return stop(pid, data).await;
    }
    // Postgres ignores the ID of a process that does not exist. But it refuses to start if the ID
    // belongs to another program of the same user.
    if rustix::process::test_kill_process(pid).is_ok() {
        let socket = address.socket();
        let mut socket_lock = socket.clone().into_os_string();
        socket_lock.push(".lock");
        for path in [
            data.join("postmaster.pid"),
            socket,
            PathBuf::from(socket_lock),
        ] {
            remove_if_exists(&path)?;
        }
    }
    Ok(())
}

/// Says whether the postmaster of `data` is running and accepts connections.
pub(crate) fn is_ready(data: &Path) -> bool {
    let text = read_pid_file(data).unwrap_or_default();
    let ready = text
        .lines()
        .nth(7)
        .is_some_and(|status| status.trim() == "ready");
    ready && parse_pid(&text).is_some_and(|pid| runs_in(pid, data))
}

async fn stop(pid: Pid, data: &Path) -> Result<(), Error> {
    for (signal, timeout) in STOP_SEQUENCE {
        let deadline = tokio::time::Instant::now() + timeout;
        if runs_in(pid, data) {
            // The process may have ended in the meantime.
            let _ = kill_process(pid, signal);
        }
        while tokio::time::Instant::now() < deadline {
            if !runs_in(pid, data) {
                return Ok(());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
    let pid = pid.as_raw_nonzero().get();
    Err(Error::Orphan { pid })
}

fn read_pid_file(data: &Path) -> Option<String> {
    fs_err::read_to_string(data.join("postmaster.pid")).ok()
}

fn recorded_pid(data: &Path) -> Option<Pid> {
    parse_pid(&read_pid_file(data)?)
}

fn parse_pid(text: &str) -> Option<Pid> {
    let number: i32 = text.lines().next()?.trim().parse().ok()?;
    // A standalone backend writes its ID with a minus, which `kill` would take for a process group.
    if number > 1 {
        Pid::from_raw(number)
    } else {
        None
    }
}

/// Says whether `pid` is a running postgres with `data` as its working directory.
fn runs_in(pid: Pid, data: &Path) -> bool {
    let process = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    let Ok(arguments) = fs_err::read(process.join("cmdline")) else {
        return false;
    };
    // A zombie process has no command line.
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
        (Ok(working_dir), Ok(data)) => {
            (working_dir.dev(), working_dir.ino()) == (data.dev(), data.ino())
        }
        // In a container, root may have no access to `cwd`. Every user can read the arguments.
        (Err(_), Ok(_)) => {
            let wanted = data.as_os_str().as_encoded_bytes();
            arguments.skip_while(|argument| *argument != b"-D").nth(1) == Some(wanted)
        }
        _ => false,
    }
}

fn remove_if_exists(path: &Path) -> Result<(), Error> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_positive_number_above_one_is_a_postmaster() {
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
    fn this_test_is_not_a_postmaster_of_its_folder() {
        let folder = std::env::current_dir().unwrap();
        assert!(!runs_in(rustix::process::getpid(), &folder));
    }
}
