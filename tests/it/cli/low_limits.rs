//! Commands where the system starts few or no threads: each ends at once, with one sentence.

use std::path::Path;
use std::process::Command;

use crate::support::process::{Ended, holdfast, run};
use crate::support::{files, is_root, skipped};

/// A user ID that no other process has, since the limit counts all processes of a user.
const UID: u32 = 2_000_054_321;

/// Runs a command as [`UID`] with a limit of processes and threads, for at most 20 seconds.
fn limited(processes: u32, folder: &Path, arguments: &[&str]) -> Ended {
    let binary = holdfast(&[]);
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={UID}"), "--clear-groups"]);
    command.args(["timeout", "20", "prlimit", &format!("--nproc={processes}")]);
    command.arg(binary.get_program()).args(arguments);
    command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin");
    command.env("HOLDFAST_DATA", folder.join("data"));
    run(command.current_dir(folder))
}

#[test]
fn every_command_ends_where_no_thread_can_be_started() {
    if !is_root() {
        return skipped("root is not bound by the limit, and only root can become another user");
    }
    let folder = files::scratch();
    let root = folder.path();
    for name in ["world", "restored"] {
        fs_err::create_dir(root.join(name)).unwrap();
    }
    fs_err::write(root.join("world/level.dat"), "level").unwrap();
    for path in [root.to_owned(), root.join("restored")] {
        std::os::unix::fs::chown(&path, Some(UID), None).unwrap();
    }
    if limited(100, root, &["--version"]).code != Some(0) {
        return skipped("setpriv or prlimit is missing, or others can't run this binary");
    }
    let made = limited(100, root, &["archive", "create", "world", "whole.tar.gz"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let commands: [&[&str]; 11] = [
        &["openapi"],
        &["check-config"],
        &["archive", "create", "world", "new.tar.gz"],
        &["archive", "restore", "whole.tar.gz", "restored"],
        &["archive", "verify", "whole.tar.gz"],
        &["archive", "list", "whole.tar.gz"],
        &["healthcheck", "--url", "http://127.0.0.1:9"],
        &["admin", "user", "list"],
        &["worker"],
        &["up", "--listen", "127.0.0.1:0"],
        &["demo"],
    ];
    for processes in [1, 2, 3, 4, 6] {
        for arguments in commands {
            let ended = limited(processes, root, arguments);
            let text = format!("{processes} {arguments:?}: {ended:?}");
            assert!(matches!(ended.code, Some(0 | 1)), "{text}");
            if ended.code == Some(1) {
                assert!(ended.stderr.starts_with("holdfast: "), "{text}");
                assert_eq!(ended.stderr.lines().count(), 1, "{text}");
            }
        }
    }
    for arguments in [&["demo"][..], &["admin", "user", "list"]] {
        let refused = limited(1, root, arguments);
        let advice = "raise the limit of processes and threads (`ulimit -u`";
        assert!(refused.stderr.contains(advice), "{refused:?}");
    }
    for arguments in [commands[0], commands[1], commands[4], commands[5]] {
        assert_eq!(limited(1, root, arguments).code, Some(0), "{arguments:?}");
    }
    let refused = limited(1, root, commands[2]);
    assert!(
        refused.stderr.contains("cannot start a thread"),
        "{refused:?}"
    );
    // With one thread to write and one to compress, the archive is the same.
    let few = limited(4, root, &["archive", "create", "world", "few.tar.gz"]);
    assert_eq!(few.code, Some(0), "{few:?}");
    let read = |name| fs_err::read(root.join(name)).unwrap();
    assert_eq!(read("few.tar.gz"), read("whole.tar.gz"));
}
