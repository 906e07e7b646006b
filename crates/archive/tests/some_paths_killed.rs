//! Restores of single files and folders that are killed or fail in the middle.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use holdfast_archive::{Recovered, recover};

use crate::disks::output;
use crate::support::*;

/// A folder, a file, a file in a folder that is missing, and a link.
const PATHS: [&str; 4] = ["world", "server.properties", "gone/deep/file", "link"];

/// A server that has changed since its archive was made.
struct Changed {
    folder: tempfile::TempDir,
    spare: PathBuf,
    archive: PathBuf,
    old: BTreeMap<PathBuf, String>,
    new: BTreeMap<PathBuf, String>,
}

impl Changed {
    fn new() -> Self {
        let folder = memory_folder();
        let source = folder.path().join("source");
        for number in 0..20 {
            write(source.join(format!("world/region/r.{number}.mca")), "new");
        }
        write(source.join("server.properties"), "new");
        write(source.join("gone/deep/file"), "new");
        write(source.join("other/file"), "new");
        std::os::unix::fs::symlink("new", source.join("link")).unwrap();
        let made = make_simply(&source);
        let archive = folder.path().join("archive.tar.gz");
        write(&archive, bytes(&made.archive));
        write(
            folder.path().join("archive.tar.gz.index"),
            bytes(&made.index),
        );

        let spare = folder.path().join("spare");
        for number in 0..10 {
            write(spare.join(format!("world/region/old.{number}.mca")), "old");
        }
        write(spare.join("server.properties"), "old");
        write(spare.join("other/file"), "old");
        std::os::unix::fs::symlink("old", spare.join("link")).unwrap();
        let mut changed = Self {
            spare,
            archive,
            old: BTreeMap::new(),
            new: BTreeMap::new(),
            folder,
        };
        changed.reset();
        changed.old = changed.now();
        let finished = changed.restore(&[]).unwrap();
        assert!(finished.status.success(), "{finished:?}");
        changed.new = changed.now();
        changed
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("server")
    }

    /// Makes the old server again.
    fn reset(&self) {
        let target = self.target();
        if target.exists() {
            fs_err::remove_dir_all(&target).unwrap();
        }
        output(
            "cp",
            &["-a", self.spare.to_str().unwrap(), target.to_str().unwrap()],
        );
    }

    fn now(&self) -> BTreeMap<PathBuf, String> {
        let text = |text: String| match text.split_once(" at ") {
            Some((kind, rest)) => format!("{kind} {}", rest.split_once(": ").unwrap_or_default().1),
            None => text,
        };
        let found = describe(&self.target()).into_iter();
        found.map(|(path, found)| (path, text(found))).collect()
    }

    /// Restores the paths while strace injects these faults. `None` if strace cannot be used.
    fn restore(&self, faults: &[String]) -> Option<std::process::Output> {
        let mut command = match faults {
            [] => Command::new(engine()),
            faults => {
                let mut command = Command::new("strace");
                command.args(["-f", "-qqq", "-o", "/dev/null"]);
                command.args(["-e", "trace=renameat2,renameat,fsync,unlinkat,mkdirat"]);
                for fault in faults {
                    command.args(["-e", &format!("inject={fault}")]);
                }
                command.arg(engine());
                command
            }
        };
        command.arg("restore").arg(&self.archive).arg(self.target());
        command.args(["--threads", "1"]);
        for path in PATHS {
            command.args(["--path", path]);
        }
        let output = command.output().ok()?;
        let error = String::from_utf8_lossy(&output.stderr);
        (!error.contains("strace:")).then_some(output)
    }

    /// Checks that each path is the old one or the new one, and that nothing else has changed.
    /// While a path is moved in two steps, it may be missing.
    #[track_caller]
    fn check(&self, may_miss: bool, what: &str) {
        let found = self.now();
        let part = |tree: &BTreeMap<PathBuf, String>, path: &str| -> BTreeMap<PathBuf, String> {
            let first = path.split('/').next().unwrap();
            let below = tree.iter().filter(|(path, _)| path.starts_with(first));
            below
                .map(|(path, text)| (path.clone(), text.clone()))
                .collect()
        };
        for path in PATHS.into_iter().chain(["other"]) {
            let found = part(&found, path);
            let (old, new) = (part(&self.old, path), part(&self.new, path));
            let is_missing = may_miss && found.is_empty();
            assert!(
                found == old || found == new || is_missing,
                "{what}: {path} is a mixture: {found:?}"
            );
        }
    }

    fn leftovers(&self) -> usize {
        let names = fs_err::read_dir(self.folder.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name());
        names
            .filter(|name| name.as_encoded_bytes().starts_with(b".holdfast"))
            .count()
    }
}

/// Kills restores right before each of these calls, and recovers.
fn kill_before_each_call(changed: &Changed, no_exchange: bool) {
    let (mut killed, mut undone, mut restored) = (0, 0, 0);
    for call in ["renameat2", "renameat", "fsync", "unlinkat", "mkdirat"] {
        if no_exchange && call == "renameat2" {
            continue;
        }
        for number in 1..60 {
            changed.reset();
            let mut faults = vec![format!("{call}:signal=KILL:when={number}")];
            if no_exchange {
                faults.push("renameat2:error=EINVAL".to_owned());
            }
            let Some(ended) = changed.restore(&faults) else {
                skip("strace is missing, or may not trace");
                return;
            };
            let what = format!("killed before {call} {number}");
            if ended.status.success() {
                assert_eq!(changed.now(), changed.new, "{what}");
                restored += 1;
                break;
            }
            killed += 1;
            changed.check(no_exchange, &what);
            let recovered = recover(&changed.target(), None).unwrap();
            changed.check(false, &what);
            match recovered {
                Recovered::Undone => {
                    assert_eq!(changed.now(), changed.old, "{what}");
                    undone += 1;
                }
                recovered => assert!(
                    matches!(recovered, Recovered::Nothing | Recovered::Cleaned),
                    "{what}: {recovered:?}"
                ),
            }
            assert_eq!(changed.leftovers(), 0, "{what}");
            assert_eq!(
                recover(&changed.target(), None).unwrap(),
                Recovered::Nothing
            );
        }
    }
    eprintln!("{killed} killed, {undone} of them in the middle of the moves");
    assert!(
        undone > 5 && restored > 3,
        "{undone} undone, {restored} restored"
    );
}

#[test]
fn a_restore_of_paths_that_is_killed_before_any_call_leaves_each_path_old_or_new() {
    kill_before_each_call(&Changed::new(), false);
}

#[test]
fn a_restore_of_paths_without_exchange_is_repaired_after_a_kill_before_any_call() {
    kill_before_each_call(&Changed::new(), true);
}

#[test]
fn a_recovery_of_paths_that_is_killed_is_continued_by_the_next_one() {
    let changed = Changed::new();
    for no_exchange in [false, true] {
        let mut faults = vec!["unlinkat:signal=KILL:when=1".to_owned()];
        if no_exchange {
            faults.push("renameat2:error=EINVAL".to_owned());
        }
        let mut killed = 0;
        for number in 1..12 {
            changed.reset();
            // The restore ends right before its marker is removed: all has been moved.
            if changed.restore(&faults).is_none() {
                skip("strace is missing, or may not trace");
                return;
            }
            let call = ["renameat2", "renameat", "fsync"][number % 3];
            let mut recovery = Command::new("strace");
            recovery.args([
                "-f",
                "-qqq",
                "-o",
                "/dev/null",
                "-e",
                &format!("trace={call}"),
            ]);
            let fault = format!("inject={call}:signal=KILL:when={}", number / 3 + 1);
            recovery.args(["-e", &fault]).arg(engine()).arg("recover");
            let ended = recovery.arg(changed.target()).output().unwrap();
            killed += u32::from(!ended.status.success());
            changed.check(true, &fault);
            recover(&changed.target(), None).unwrap();
            assert_eq!(changed.now(), changed.old, "{fault}");
            assert_eq!(changed.leftovers(), 0);
        }
        assert!(killed > 2, "{killed} recoveries were killed");
    }
}

#[test]
fn an_error_in_the_middle_takes_back_what_was_moved() {
    let changed = Changed::new();
    let mut failed = 0;
    for number in 1..12 {
        for error in ["EIO", "EPERM", "EXDEV"] {
            changed.reset();
            let fault = format!("renameat2:error={error}:when={number}");
            let Some(ended) = changed.restore(std::slice::from_ref(&fault)) else {
                skip("strace is missing, or may not trace");
                return;
            };
            let said = String::from_utf8_lossy(&ended.stderr);
            if ended.status.success() {
                assert_eq!(changed.now(), changed.new, "{fault}");
                continue;
            }
            failed += 1;
            assert_eq!(changed.now(), changed.old, "{fault}: {said}");
            assert_eq!(changed.leftovers(), 0, "{fault}: {said}");
        }
    }
    assert!(failed > 8, "{failed} restores failed");
}
