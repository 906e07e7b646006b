//! How a restore puts the files into place: it exchanges the directory, or keeps it and exchanges
//! its children.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use holdfast_archive::{Control, Error, RestoreOptions, RestoreSummary, SwapMethod, restore};

use crate::disks::{Mounted, can_use, output, run};
use crate::kept_directory::{contents_of, paths, project};
use crate::support::*;
use crate::swap::{archive_of, tree};

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Restores an archive with `truncate`.
pub(crate) fn put_back_by(
    method: SwapMethod,
    archive: &Path,
    target: &Path,
    before_swap: &mut dyn FnMut(),
) -> Result<RestoreSummary, Error> {
    let options = RestoreOptions {
        truncate: true,
        swap: method,
        ..Default::default()
    };
    let control = Control::new();
    restore(
        &open(archive),
        None,
        target,
        &options,
        &control,
        &mut || {
            before_swap();
            Ok(())
        },
    )
}

pub(crate) fn inode(path: &Path) -> (u64, u64) {
    let metadata = fs_err::metadata(path).unwrap();
    (metadata.dev(), metadata.ino())
}

/// A process that is killed at the end.
pub(crate) struct Holder(Child);

impl Holder {
    /// Starts a command that prints a line and then waits.
    fn start(command: &mut Command) -> Self {
        use std::io::Read as _;
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut byte = [0];
        child
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut byte)
            .unwrap();
        Self(child)
    }

    /// Opens a directory, as daemons of panels do.
    pub(crate) fn with_open(directory: &Path) -> Self {
        let script = "exec 9< \"$0\"; echo; exec sleep 1000";
        Self::start(Command::new("sh").args(["-c", script]).arg(directory))
    }

    fn working_in(directory: &Path) -> Self {
        let script = "echo; exec sleep 1000";
        Self::start(
            Command::new("sh")
                .args(["-c", script])
                .current_dir(directory),
        )
    }

    /// Mounts a directory at another place in a mount namespace of its own, as a container does.
    fn with_volume(directory: &Path, place: &Path) -> Self {
        let script = "mount --bind \"$0\" \"$1\"; echo; exec sleep 1000";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]);
        Self::start(command.args([directory, place]))
    }

    /// Returns what this process sees below its link in `/proc`.
    pub(crate) fn sees(&self, link: &str) -> String {
        let path = format!("/proc/{}/{link}/both", self.0.id());
        fs_err::read_to_string(path).unwrap_or_default()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_directory_that_a_process_has_open_stays_and_the_process_sees_the_new_files() {
    let folder = folder();
    let archive = archive_of(folder.path(), 3);
    let target = folder.path().join("server");
    let put_back = |method| {
        tree(&target, "old", 3);
        let before = inode(&target);
        put_back_by(method, &archive, &target, &mut || {}).unwrap();
        assert_eq!(fs_err::read_to_string(target.join("both")).unwrap(), "new");
        assert!(!target.join("old-0").exists());
        inode(&target) == before
    };
    assert!(!put_back(SwapMethod::Auto));
    for (link, hold) in [
        ("fd/9", Holder::with_open as fn(&Path) -> Holder),
        ("cwd", Holder::working_in),
    ] {
        let holder = hold(&target);
        assert!(put_back(SwapMethod::Auto), "{link}");
        assert_eq!(holder.sees(link), "new", "{link}");
        assert!(put_back(SwapMethod::Children), "{link}");
        assert_eq!(holder.sees(link), "new", "{link}");
        assert!(!put_back(SwapMethod::Exchange), "{link}");
        assert_ne!(holder.sees(link), "new", "{link}");
        // It has the old directory open, which is no longer this one.
        assert!(!put_back(SwapMethod::Auto), "{link}");
    }
    // Another directory of the same name is not this one.
    let other = folder.path().join("other/server");
    fs_err::create_dir_all(&other).unwrap();
    let _holders = [Holder::with_open(&other), Holder::working_in(&other)];
    assert!(!put_back(SwapMethod::Auto));
    assert!(put_back(SwapMethod::Children));
}

#[test]
fn a_directory_that_a_container_or_another_place_has_mounted_stays() {
    if !can_use(&["mount", "unshare"]) {
        return;
    }
    let Some(disk) = Disk::mount("size=16m") else {
        return;
    };
    let archive = archive_of(&disk.path().join("archives"), 3);
    let (target, place) = (disk.path().join("with blank"), disk.path().join("place"));
    fs_err::create_dir_all(&place).unwrap();
    let mut before = (0, 0);
    let mut put_back = || {
        tree(&target, "old", 3);
        before = inode(&target);
        put_back_by(SwapMethod::Auto, &archive, &target, &mut || {}).unwrap();
        assert_eq!(fs_err::read_to_string(target.join("both")).unwrap(), "new");
        inode(&target) == before
    };
    assert!(!put_back());
    let container = Holder::with_volume(&target, &place);
    assert!(put_back());
    assert_eq!(container.sees(&format!("root{}", text(&place))), "new");
    drop(container);
    assert!(!put_back());
    assert!(run("mount", &["--bind", text(&target), text(&place)]));
    let stays = put_back();
    let seen = fs_err::read_to_string(place.join("both"));
    assert!(run("umount", &[text(&place)]));
    assert!(stays && seen.unwrap() == "new");
}

#[test]
fn a_child_that_cannot_be_moved_is_no_obstacle_unless_the_directory_must_stay() {
    if !can_use(&["chattr", "lsattr"]) {
        return;
    }
    let Some(disk) = Mounted::new("xfs", &["-q"]) else {
        return;
    };
    let folder = folder();
    let archive = archive_of(folder.path(), 30);
    let target = disk.path().join("server");
    tree(&target, "old", 20);
    let fixed = target.join("fixed");
    write(&fixed, "old");
    output("chattr", &["+i", text(&fixed)]);
    let before = describe(&target);
    let refused = |outcome: Result<RestoreSummary, Error>| {
        assert!(
            matches!(&outcome, Err(Error::Immovable { path, .. }) if path.ends_with("fixed")),
            "{outcome:?}"
        );
        assert_eq!(describe(&target), before);
        assert!(output("lsattr", &[text(&fixed)]).contains('i'));
    };
    refused(put_back_by(
        SwapMethod::Children,
        &archive,
        &target,
        &mut || {},
    ));
    let holder = Holder::with_open(&target);
    refused(put_back_by(SwapMethod::Auto, &archive, &target, &mut || {}));
    drop(holder);
    // The new directory has the project, too, so the exchange loses nothing.
    output("chattr", &["+P", "-p", "42", text(&target)]);
    put_back_by(SwapMethod::Auto, &archive, &target, &mut || {}).unwrap();
    assert_eq!(paths(&target), contents_of(&archive));
    for below in ["", "both"] {
        let shown = project(&target.join(below)).unwrap();
        assert_eq!(shown.split_whitespace().next(), Some("42"), "{below:?}");
    }
}
