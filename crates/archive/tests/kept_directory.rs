//! Restores that keep the directory itself, on several file systems: its inode, its project, its
//! flags, its lists, its owner and its mode stay.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use holdfast_archive::{Control, Error, RestoreOptions, SwapMethod, restore};

use crate::disks::{Mounted, can_use, output, run};
use crate::support::*;
use crate::swap::{archive_of, tree};
use crate::swap_methods::{Holder, inode, put_back_by, text};

/// What belongs to a directory itself.
#[derive(Debug, PartialEq, Eq)]
struct Own {
    inode: (u64, u64),
    owner: (u32, u32, u32),
    flags: String,
    acl: String,
    attribute: String,
}

impl Own {
    fn of(path: &Path) -> Self {
        let metadata = fs_err::metadata(path).unwrap();
        let value = ["-n", "user.panel", "--only-values", text(path)];
        Self {
            inode: inode(path),
            owner: (metadata.uid(), metadata.gid(), metadata.mode()),
            // Overlayfs does not show flags.
            flags: project(path).unwrap_or_default(),
            acl: output("getfacl", &["-np", text(path)]),
            attribute: output("getfattr", &value),
        }
    }
}

/// Returns the project of a file and its flags.
pub(crate) fn project(path: &Path) -> Option<String> {
    let listed = Command::new("lsattr").args(["-pd", text(path)]).output();
    let listed = listed.unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    listed.status.success().then_some(text)
}

/// Gives a directory an owner, a mode, a list and an attribute of its own.
fn make_own(target: &Path) {
    chown(target, Some(1001), Some(1002)).unwrap();
    set_mode(target, 0o2751);
    output("setfacl", &["-m", "u:1003:rwx,d:u:1003:rwx", text(target)]);
    output("setfattr", &["-n", "user.panel", "-v", "7", text(target)]);
}

/// Restores twice, and checks the directory itself and where the staging folder is. `staging` is
/// the folder that holds it.
fn assert_stays(target: &Path, archive: &Path, staging: &Path) {
    let before = Own::of(target);
    for _ in 0..2 {
        tree(target, "old", 20);
        let new = contents_of(archive);
        let name = match staging == target {
            true => ".holdfast-restore".into(),
            false => format!(
                ".holdfast-restore-{}",
                target.file_name().unwrap().display()
            ),
        };
        let mut seen = None;
        let summary = put_back_by(SwapMethod::Auto, archive, target, &mut || {
            let found = fs_err::metadata(staging.join(&name)).unwrap();
            seen = Some((found.uid(), found.permissions().mode() & 0o7777));
        })
        .unwrap();
        assert_eq!(summary.notes.count, 0, "{:?}", summary.notes);
        assert_eq!(seen, Some((0, 0o700)));
        assert_eq!(Own::of(target), before);
        assert_eq!(paths(target), new);
        let owner = fs_err::metadata(target.join("both")).unwrap();
        assert_eq!((owner.uid(), owner.gid()), (1001, 1002));
        for folder in [target, staging] {
            let mut names = fs_err::read_dir(folder).unwrap();
            let is_left = |name: &str| name.starts_with(".holdfast");
            let left = names.find(|entry| {
                let name = entry.as_ref().unwrap().file_name();
                is_left(name.to_str().unwrap())
            });
            assert!(left.is_none(), "{left:?}");
        }
    }
}

pub(crate) fn paths(root: &Path) -> Vec<PathBuf> {
    describe(root).into_keys().collect()
}

/// Returns the paths that [`archive_of`] has put into an archive.
pub(crate) fn contents_of(archive: &Path) -> Vec<PathBuf> {
    paths(&archive.with_file_name("source"))
}

const TOOLS: [&str; 7] = [
    "chattr", "lsattr", "setfacl", "getfacl", "setfattr", "getfattr", "mount",
];

#[test]
fn a_directory_with_a_project_stays_and_its_new_files_have_the_project() {
    if !can_use(&TOOLS) {
        return;
    }
    let folder = folder();
    let archive = archive_of(folder.path(), 30);
    // Not every kernel has quotas. The project belongs to the directory all the same.
    let Some(disk) = Mounted::with_options("xfs", &["-q"], &["loop,prjquota", "loop"]) else {
        return;
    };
    let (parent, target) = (disk.path(), disk.path().join("server"));
    for has_parent_project in [false, true] {
        fs_err::create_dir_all(&target).unwrap();
        make_own(&target);
        output("chattr", &["+P", "-p", "42", text(&target)]);
        output("chattr", &["+Ad", text(&target)]);
        if has_parent_project {
            output("chattr", &["+P", "-p", "7", text(&parent)]);
        }
        assert_stays(&target, &archive, &parent);
        for below in paths(&target) {
            let shown = project(&target.join(&below)).unwrap();
            assert_eq!(shown.split_whitespace().next(), Some("42"), "{below:?}");
        }
        fs_err::remove_dir_all(&target).unwrap();
    }
    // A project without inheritance, and inheritance of the project 0.
    for flags in [["-P", "-p", "42"], ["+P", "-p", "0"]] {
        fs_err::create_dir_all(&target).unwrap();
        make_own(&target);
        output("chattr", &[&flags[..], &[text(&target)]].concat());
        assert_stays(&target, &archive, &parent);
        fs_err::remove_dir_all(&target).unwrap();
    }
}

#[test]
fn a_subvolume_stays_and_has_its_staging_folder_inside() {
    if !can_use(&TOOLS) || !can_use(&["btrfs"]) {
        return;
    }
    let Some(disk) = Mounted::new("btrfs", &["-q"]) else {
        return;
    };
    let (folder, target) = (folder(), disk.path().join("server"));
    let archive = archive_of(folder.path(), 30);
    output("btrfs", &["subvolume", "create", text(&target)]);
    make_own(&target);
    output("chattr", &["+CAd", text(&target)]);
    assert_stays(&target, &archive, &target);
    // An ordinary directory that a process has open stays, too, with its staging folder beside it.
    let plain = disk.path().join("plain");
    fs_err::create_dir(&plain).unwrap();
    make_own(&plain);
    output("chattr", &["+CAd", text(&plain)]);
    let holder = Holder::with_open(&plain);
    assert_stays(&plain, &archive, &disk.path());
    assert_eq!(holder.sees("fd/9"), "new");
}

#[test]
fn a_bind_mount_stays_and_has_its_staging_folder_inside() {
    if !can_use(&TOOLS) {
        return;
    }
    let Some(disk) = Disk::mount("size=64m") else {
        return;
    };
    let folder = folder();
    let archive = archive_of(folder.path(), 30);
    let (real, target) = (disk.path().join("real"), disk.path().join("server"));
    fs_err::create_dir(&real).unwrap();
    fs_err::create_dir(&target).unwrap();
    assert!(run("mount", &["--bind", text(&real), text(&target)]));
    let bound = Bound(target.clone());
    make_own(&target);
    let holder = Holder::with_open(&real);
    assert_stays(&target, &archive, &target);
    assert_eq!(holder.sees("fd/9"), "new");
    drop(bound);
    assert_eq!(paths(&real), contents_of(&archive));
}

/// A bind mount that is unmounted at the end.
struct Bound(PathBuf);

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_directory_of_an_overlay_that_a_process_has_open_stays() {
    if !can_use(&TOOLS) {
        return;
    }
    let Some(disk) = Mounted::overlay(|lower| write(lower.join("file"), "lower")) else {
        return;
    };
    let (folder, target) = (folder(), disk.path().join("server"));
    let archive = archive_of(folder.path(), 30);
    fs_err::create_dir(&target).unwrap();
    make_own(&target);
    let holder = Holder::with_open(&target);
    assert_stays(&target, &archive, &disk.path());
    assert_eq!(holder.sees("fd/9"), "new");
}

#[test]
fn a_directory_with_a_key_of_its_own_stays_and_its_new_files_are_encrypted() {
    if !can_use(&TOOLS) || !can_use(&["xfs_io"]) {
        return;
    }
    let Some(disk) = Mounted::new("ext4", &["-q", "-O", "encrypt"]) else {
        return;
    };
    let (folder, target) = (folder(), disk.path().join("server"));
    let archive = archive_of(folder.path(), 30);
    fs_err::create_dir(&target).unwrap();
    let Some(key) = add_key(&disk.path()) else {
        skip("this kernel does not encrypt folders");
        return;
    };
    output(
        "xfs_io",
        &["-c", &format!("set_encpolicy {key}"), text(&target)],
    );
    make_own(&target);
    assert_stays(&target, &archive, &target);
    let flags = output("lsattr", &["-R", text(&target)]);
    let mut entries = flags.lines().filter(|line| line.starts_with('-'));
    assert!(
        entries.all(|line| line.split(' ').next().unwrap().contains('E')),
        "{flags}"
    );
    // Below a folder with the key, a directory is exchanged as everywhere.
    let below = target.join("below");
    fs_err::create_dir(&below).unwrap();
    let before = inode(&below);
    put_back_by(SwapMethod::Auto, &archive, &below, &mut || {}).unwrap();
    assert_ne!(inode(&below), before);
    assert!(output("lsattr", &["-d", text(&below)]).contains('E'));
}

/// Adds a key for encrypted folders to a file system. Returns its name.
fn add_key(disk: &Path) -> Option<String> {
    use std::io::Write as _;
    let mut command = Command::new("xfs_io");
    command.args(["-c", "add_enckey", text(disk)]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(&[7; 64]).unwrap();
    let said = child.wait_with_output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    said.split_whitespace().last().map(str::to_owned)
}

#[test]
fn a_staging_folder_on_another_mount_of_the_same_disk_is_refused() {
    let Some(disk) = Disk::mount("size=16m") else {
        return;
    };
    let archive = archive_of(&disk.path().join("archives"), 3);
    let (target, staging) = (disk.path().join("server"), disk.path().join("staging"));
    for folder in [&target, &staging] {
        fs_err::create_dir(folder).unwrap();
    }
    assert!(run("mount", &["--bind", text(&staging), text(&staging)]));
    let bound = Bound(staging.clone());
    let options = RestoreOptions {
        staging_dir: Some(staging),
        ..Default::default()
    };
    let put_back = || {
        let control = Control::new();
        restore(
            &open(&archive),
            None,
            &target,
            &options,
            &control,
            &mut || Ok(()),
        )
    };
    let refused = put_back();
    assert!(
        matches!(refused, Err(Error::StagingElsewhere { .. })),
        "{refused:?}"
    );
    drop(bound);
    put_back().unwrap();
    assert_eq!(paths(&target), contents_of(&archive));
}
