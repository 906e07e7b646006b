//! Local disks on file systems that are not ext4: what they lack, and how they run full.

use std::path::Path;
use std::process::Command;

use holdfast_storage::{Disk, Error, Shortage};

use crate::mounts::{LoopMount, RcloneMount};
use crate::objects::{
    SIZE_MAX, archive_key, assert_invisible, backup, error_text, key, list, noise, partials, put,
    read_all, server,
};
use crate::places::{name, skipped};

fn disk(root: &Path) -> Disk {
    Disk::local(name("local"), root).unwrap()
}

/// Stores, lists, reads and deletes objects, and checks that nothing else is left.
async fn assert_keeps_promises(disk: &Disk, root: &Path) {
    disk.check().await.unwrap();
    let content = noise(300_000);
    put(disk, key(1), &content).await.unwrap();
    let refused = put(disk, key(1), &noise(3)).await.unwrap_err();
    assert!(matches!(refused, Error::Exists { .. }), "{refused:?}");
    assert!(read_all(disk, key(1)).await == content);
    assert_eq!(list(disk, None).await, [key(1)]);
    let mut dropped = disk.begin(key(2), SIZE_MAX).await.unwrap();
    dropped.write(noise(10)).await.unwrap();
    drop(dropped);
    assert_eq!(partials(disk).await, []);
    disk.delete_backup(server(1), backup(1)).await.unwrap();
    let names: Vec<_> = fs_err::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name != "lost+found")
        .collect();
    assert_eq!(names, [".holdfast-disk"]);
}

/// How a process of [`steps_of_a_disk`] ended under strace.
struct Traced {
    root: tempfile::TempDir,
    is_success: bool,
    stderr: String,
}

/// Runs [`steps_of_a_disk`] in a process whose system calls fail as `inject` says. Returns `None`
/// if strace does not work here. `{root}` stands for the folder of the disk.
fn traced(steps: &str, inject: &[&str]) -> Option<Traced> {
    let root = tempfile::tempdir().unwrap();
    let works = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .output();
    if !works.is_ok_and(|done| done.status.success()) {
        skipped("strace is missing or may not trace");
        return None;
    }
    let path = root.path().to_str().unwrap();
    let inject = inject
        .iter()
        .map(|argument| argument.replace("{root}", path));
    let done = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null"])
        .args(inject)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "file_systems::steps_of_a_disk", "--nocapture"])
        .env("HOLDFAST_TEST_STEPS", steps)
        .env("HOLDFAST_TEST_ROOT", root.path())
        .output()
        .unwrap();
    Some(Traced {
        root,
        is_success: done.status.success(),
        stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
    })
}

/// What the process of [`traced`] does. Without its variables, it does nothing.
#[tokio::test]
async fn steps_of_a_disk() {
    let variable = std::env::var("HOLDFAST_TEST_STEPS");
    let (Ok(steps), Some(root)) = (variable, std::env::var_os("HOLDFAST_TEST_ROOT")) else {
        return;
    };
    let root = Path::new(&root);
    match steps.as_str() {
        "all" => assert_keeps_promises(&disk(root), root).await,
        "free" => {
            let disk = disk(root);
            assert_eq!(disk.free_bytes().await.unwrap(), None);
            assert_keeps_promises(&disk, root).await;
        }
        "open" => {
            let refused = Disk::local(name("local"), root).unwrap_err();
            assert!(refused.is_temporary() || matches!(refused, Error::Denied { .. }));
            panic!("refused: {}", error_text(&refused));
        }
        "upload" => {
            // The disk is in use already, so its folder is not tested.
            let disk = Disk::local_existing(name("local"), root).unwrap();
            fs_err::write(root.join(".holdfast-disk"), "local").unwrap();
            let error = put(&disk, key(1), &noise(LENGTH)).await.unwrap_err();
            assert!(error.is_temporary(), "{error:?}");
            assert_invisible(&disk, key(1)).await;
            assert_eq!(partials(&disk).await, []);
        }
        other => panic!("unknown steps {other}"),
    }
}

/// The length of the object of a failing upload.
const LENGTH: usize = 100_000;

#[track_caller]
fn assert_succeeds(steps: &str, inject: &[&str]) {
    if let Some(done) = traced(steps, inject) {
        assert!(done.is_success, "{inject:?}: {}", done.stderr);
    }
}

#[test]
fn objects_become_visible_on_file_systems_with_neither_rename_flags_nor_links() {
    for (renameat2, link) in [
        ("EINVAL", None),
        ("EINVAL", Some("EPERM")),
        ("ENOSYS", Some("ENOSYS")),
        ("EOPNOTSUPP", Some("EOPNOTSUPP")),
        ("EPERM", Some("EPERM")),
        // As rclone does.
        ("EINVAL", Some("EIO")),
    ] {
        let rename = format!("inject=renameat2:error={renameat2}");
        let link = link.map(|link| format!("inject=link,linkat:error={link}"));
        let mut inject = vec!["-e", rename.as_str()];
        inject.extend(link.iter().flat_map(|link| ["-e", link.as_str()]));
        assert_succeeds("all", &inject);
    }
}

#[tokio::test]
async fn two_uploads_of_one_object_never_run_at_once_on_a_folder() {
    let root = tempfile::tempdir().unwrap();
    let disk = disk(root.path());
    let mut first = disk.begin(key(1), SIZE_MAX).await.unwrap();
    let second = disk.begin(key(1), SIZE_MAX).await.unwrap_err();
    assert!(matches!(second, Error::Exists { .. }), "{second:?}");
    first.write(noise(3)).await.unwrap();
    first.finish().await.unwrap();
    assert!(read_all(&disk, key(1)).await == noise(3));
}

#[test]
fn a_file_system_that_cannot_rename_is_refused_at_the_start() {
    let inject = [
        "-e",
        "inject=rename,renameat,renameat2,link,linkat:error=EPERM",
    ];
    let Some(refused) = traced("open", &inject) else {
        return;
    };
    assert!(refused.stderr.contains("rename"), "{}", refused.stderr);
    let names = fs_err::read_dir(refused.root.path()).unwrap().count();
    assert_eq!(names, 0, "the files of the test were removed");
}

#[test]
fn a_file_system_without_figures_has_unknown_free_space() {
    let zeros = "00".repeat(120);
    let inject = format!("inject=statfs,fstatfs:retval=0:poke_exit=@arg2={zeros}");
    assert_succeeds("free", &["-e", &inject]);
}

/// The folder of the server whose objects the tests store.
fn server_folder() -> String {
    format!("{{root}}/{}", server(1))
}

#[test]
fn a_folder_that_cannot_be_synced_is_no_error() {
    let folder = server_folder();
    for error in ["EINVAL", "ENOSYS", "EOPNOTSUPP", "EBADF", "EISDIR"] {
        let inject = format!("inject=fsync:error={error}");
        assert_succeeds("all", &["-P", "{root}", "-P", &folder, "-e", &inject]);
    }
}

#[test]
fn an_upload_that_may_not_be_durable_fails_and_leaves_nothing() {
    let folder = server_folder();
    let partial = format!("{folder}/.{}.tar.gz.partial", backup(1));
    let lost = format!("inject=pwrite64:retval={LENGTH}");
    for (path, inject) in [
        (&partial, "inject=fsync:error=EIO"),
        // Folders may lack it, files may not.
        (&partial, "inject=fsync:error=EINVAL"),
        (&partial, "inject=close:error=EIO"),
        // The bytes get lost, but the call succeeds.
        (&partial, lost.as_str()),
        (&folder, "inject=fsync:error=EIO"),
    ] {
        assert_succeeds("upload", &["-P", path, "-e", inject]);
    }
}

#[test]
fn the_check_at_the_start_notices_files_that_are_not_durable() {
    let inject = ["-P", "{root}", "-e", "inject=fsync:error=EIO"];
    let Some(refused) = traced("open", &inject) else {
        return;
    };
    assert!(
        refused.stderr.contains("cannot sync folder"),
        "{}",
        refused.stderr
    );
}

#[tokio::test]
async fn an_empty_marker_file_of_a_crash_is_written_again() {
    let root = tempfile::tempdir().unwrap();
    let marker = root.path().join(".holdfast-disk");
    fs_err::write(&marker, "").unwrap();
    disk(root.path()).check().await.unwrap();
    assert_eq!(fs_err::read_to_string(&marker).unwrap(), "local\n");
}

#[tokio::test]
async fn checks_at_the_same_time_do_not_disturb_each_other() {
    let root = tempfile::tempdir().unwrap();
    let disks: Vec<Disk> = (0..16).map(|_| disk(root.path())).collect();
    let checks = disks.iter().map(Disk::check);
    for checked in futures_util::future::join_all(checks).await {
        checked.unwrap();
    }
    assert_eq!(fs_err::read_dir(root.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn objects_are_stored_on_xfs_btrfs_vfat_and_ext4() {
    for (megabytes, make) in [
        (320, &["mkfs.xfs", "-q"][..]),
        (128, &["mkfs.btrfs", "-q"]),
        (16, &["mkfs.vfat"]),
        (8, &["mkfs.ext4", "-q"]),
    ] {
        let Some(mount) = LoopMount::mount(megabytes, make) else {
            continue;
        };
        let disk = disk(&mount.root());
        assert!(disk.free_bytes().await.unwrap().is_some(), "{make:?}");
        assert_keeps_promises(&disk, &mount.root()).await;
    }
}

#[tokio::test]
async fn used_up_inodes_are_named_and_not_taken_for_used_up_space() {
    let Some(mount) = LoopMount::mount(8, &["mkfs.ext4", "-q", "-N", "64"]) else {
        return;
    };
    let disk = disk(&mount.root());
    put(&disk, key(1), &noise(1000)).await.unwrap();
    let fill = mount.root().join("fill");
    fs_err::create_dir(&fill).unwrap();
    let filled = (0..100).find(|n| fs_err::write(fill.join(n.to_string()), "").is_err());
    assert!(filled.is_some(), "it holds more files than it has inodes");
    for error in [
        disk.begin(key(2), SIZE_MAX).await.unwrap_err(),
        Disk::local(name("local"), &mount.root()).unwrap_err(),
    ] {
        let text = error_text(&error);
        let shortage = Shortage::Inodes;
        assert!(
            matches!(error, Error::Full { shortage: found, .. } if found == shortage),
            "{error:?}"
        );
        assert!(text.contains("has no free inodes"), "{text}");
    }
    // An object of another server needs a folder, too.
    let mut other = archive_key(3, 1);
    other.server = server(2);
    let other = holdfast_storage::StorageKey::Archive(other);
    let error = disk.begin(other, SIZE_MAX).await.unwrap_err();
    assert!(
        error_text(&error).contains("has no free inodes"),
        "{error:?}"
    );
    fs_err::remove_file(fill.join("0")).unwrap();
    put(&disk, key(2), &noise(1000)).await.unwrap();
}

#[tokio::test]
async fn used_up_space_is_not_taken_for_used_up_inodes() {
    for (megabytes, make) in [(320, &["mkfs.xfs", "-q"][..]), (8, &["mkfs.ext4", "-q"])] {
        let Some(mount) = LoopMount::mount(megabytes, make) else {
            continue;
        };
        let disk = disk(&mount.root());
        let content = noise(1 << 20);
        let mut error = None;
        let mut upload = disk.begin(key(1), SIZE_MAX).await.unwrap();
        while error.is_none() {
            error = upload.write(content.clone()).await.err();
        }
        let error = error.unwrap();
        assert!(
            matches!(
                error,
                Error::Full {
                    shortage: Shortage::Space,
                    ..
                }
            ),
            "{make:?} {error:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_stored_through_rclone() {
    let Some(mount) = RcloneMount::mount() else {
        return;
    };
    assert_keeps_promises(&disk(&mount.root()), &mount.root()).await;
}
