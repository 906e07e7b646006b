//! Permissions of the files of a local disk: exact modes, whatever the umask, and the group.

mod repair;

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast_storage::{Disk, LocalOptions, StorageKey};

use crate::objects::{SIZE_MAX, archive_key, backup, error_text, key, noise, put, server};
use crate::places::{name, skipped};

/// A group that no machine has a name for.
const GROUP: u32 = 4321;

fn disk(root: &Path, group: Option<u32>) -> Disk {
    let root = root.to_owned();
    Disk::local(name("local"), LocalOptions { root, group }).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs_err::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skipped("only root can give files to any user or group");
    }
    root
}

fn folder(root: &Path) -> PathBuf {
    root.join(server(1).to_string())
}

fn path(root: &Path, n: u128) -> PathBuf {
    root.join(key(n).path())
}

async fn repair(disk: &Disk) -> u64 {
    disk.repair_permissions(|| false).await.unwrap()
}

/// The part of a test that needs a umask of its own, in a process of its own. Without its
/// variable, it does nothing.
#[tokio::test]
async fn steps_with_a_umask() {
    let Some(root) = std::env::var_os("HOLDFAST_TEST_UMASK_ROOT") else {
        return;
    };
    let root = Path::new(&root).join("parent/disk");
    let group = std::env::var("HOLDFAST_TEST_UMASK_GROUP").ok();
    let group = group.map(|group| group.parse().unwrap());
    let [file, folder_mode] = match group {
        None => [0o600, 0o700],
        Some(_) => [0o640, 0o750],
    };
    let disk = disk(&root, group);
    assert_eq!(mode(root.parent().unwrap()), 0o711);
    assert_eq!(mode(&root), folder_mode);
    assert_eq!(mode(&root.join(".holdfast-disk")), file);
    let mut upload = disk.begin(key(1), SIZE_MAX).await.unwrap();
    assert_eq!(mode(&folder(&root)), folder_mode);
    let partial = folder(&root).join(format!(".{}.tar.gz.partial", backup(1)));
    assert_eq!(mode(&partial), file, "before anything is written");
    upload.write(noise(10)).await.unwrap();
    upload.finish().await.unwrap();
    assert_eq!(mode(&path(&root, 1)), file);
    let others = [
        StorageKey::Index(archive_key(1, 1)),
        StorageKey::Manifest(archive_key(1, 1)),
    ];
    for key in others {
        put(&disk, key, &noise(3)).await.unwrap();
        assert_eq!(mode(&root.join(key.path())), file);
    }
    disk.check().await.unwrap();
    if let Some(group) = group {
        for path in [&root, &folder(&root), &path(&root, 1)] {
            assert_eq!(fs_err::metadata(path).unwrap().gid(), group);
        }
    }
    assert_eq!(repair(&disk).await, 0, "nothing is left to repair");
}

/// Runs [`steps_with_a_umask`] behind other commands.
fn run_steps(before: &[&str], umask: &str, group: Option<u32>) {
    let root = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", "umask $0; exec \"$@\"", umask])
        .args(before);
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", "permissions::steps_with_a_umask", "--nocapture"]);
    command.env("HOLDFAST_TEST_UMASK_ROOT", root.path());
    command.envs(group.map(|group| ("HOLDFAST_TEST_UMASK_GROUP", group.to_string())));
    let done = command.output().unwrap();
    let text = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{umask} {group:?}: {text}");
}

#[test]
fn modes_do_not_depend_on_the_umask() {
    let mut umasks = vec!["000", "022", "077"];
    if is_root() {
        // Only root can open what has no bits at all.
        umasks.push("777");
    }
    for umask in umasks {
        run_steps(&[], umask, None);
        // A group that this process is in; root may use any.
        run_steps(&[], umask, Some(rustix::process::getegid().as_raw()));
        if is_root() {
            run_steps(&[], umask, Some(GROUP));
        }
    }
}

#[test]
fn every_way_to_make_an_object_visible_keeps_its_mode() {
    let works = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .output();
    if !works.is_ok_and(|done| done.status.success()) {
        return skipped("strace is missing or may not trace");
    }
    for inject in [
        &["-e", "inject=renameat2:error=EINVAL"][..],
        &[
            "-e",
            "inject=renameat2:error=EINVAL",
            "-e",
            "inject=link,linkat:error=EPERM",
        ],
    ] {
        let strace = [&["strace", "-f", "-qq", "-o", "/dev/null"][..], inject].concat();
        run_steps(&strace, "000", None);
    }
}

#[tokio::test]
async fn a_default_access_list_of_the_folder_gives_nobody_access() {
    let root = tempfile::tempdir().unwrap();
    let list = |path: &Path| {
        let mut command = Command::new("getfacl");
        let output = command.args(["-pcE"]).arg(path).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let mut set = Command::new("setfacl");
    let set = set
        .args(["-d", "-m", "u:12345:rwx,o::rwx"])
        .arg(root.path());
    if !set.output().is_ok_and(|set| set.status.success()) {
        return skipped("setfacl is missing, or the file system has no access lists");
    }
    let disk = disk(root.path(), None);
    put(&disk, key(1), &noise(3)).await.unwrap();
    assert_eq!(mode(&path(root.path(), 1)), 0o600);
    // The list is inherited, and the mask makes it ineffective.
    let text = list(&path(root.path(), 1));
    assert!(
        text.contains("user:12345:") && text.contains("mask::---"),
        "{text}"
    );
    // The same list on an old disk, where the mask lets it in.
    set_mode(&path(root.path(), 1), 0o660);
    assert!(list(&path(root.path(), 1)).contains("mask::rw-"));
    assert_eq!(repair(&disk).await, 1);
    assert!(list(&path(root.path(), 1)).contains("mask::---"));
}

#[test]
fn another_user_is_told_whose_disk_it_is() {
    let text = match std::env::var_os("HOLDFAST_TEST_FOREIGN_ROOT") {
        Some(root) => {
            let refused = Disk::local(name("local"), Path::new(&root)).unwrap_err();
            panic!("refused: {}", error_text(&refused));
        }
        None if !is_root() => return,
        None => {
            let top = tempfile::tempdir().unwrap();
            set_mode(top.path(), 0o755);
            let root = top.path().join("disk");
            disk(&root, None);
            let program = top.path().join("test");
            fs_err::copy(std::env::current_exe().unwrap(), &program).unwrap();
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
            command.arg(&program).args(["--exact", "--nocapture"]);
            command.arg("permissions::another_user_is_told_whose_disk_it_is");
            command.env("HOLDFAST_TEST_FOREIGN_ROOT", &root);
            command.current_dir("/");
            let Ok(done) = command.output() else {
                return skipped("setpriv is missing");
            };
            String::from_utf8_lossy(&done.stderr).into_owned()
        }
    };
    let told = "belongs to user 0, and this process runs as user 65534: run all processes as one \
                user, or set `group` of the disk to a group that both are in";
    assert!(text.contains(told), "{text}");
}
