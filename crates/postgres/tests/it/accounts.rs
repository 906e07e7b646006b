//! The user that Postgres runs as. Tests that need root are skipped without it.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;

use holdfast_postgres::{Error, PrivatePostgres};

use crate::support::{Folder, is_root, postmaster_of, with_postgres};

macro_rules! as_root {
    () => {
        if !is_root() {
            println!("skipped: needs root");
            return;
        }
    };
}

fn mode_of(path: &std::path::Path) -> u32 {
    fs_err::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn started_as_root_it_runs_as_another_user_without_roots_groups() {
    as_root!();
    let folder = Folder::new();
    assert_eq!(
        mode_of(folder.root()),
        0o700,
        "a temporary folder is private at first"
    );
    let postgres = PrivatePostgres::start(&folder.options()).await.unwrap();
    let pid = postmaster_of(&folder).unwrap().as_raw_nonzero();
    let status = fs_err::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let uid = fs_err::metadata(folder.cluster()).unwrap().uid();
    assert_ne!(uid, 0);
    assert_eq!(field("Uid:"), vec![uid.to_string(); 4]);
    assert!(field("Groups:").is_empty());
    assert_ne!(field("Gid:")[0], "0");
    assert_eq!(mode_of(&folder.cluster()), 0o700);
    assert_eq!(
        mode_of(folder.root()),
        0o701,
        "DATA can be traversed, not listed"
    );
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn missing_parents_are_created_accessible_to_the_user() {
    as_root!();
    let folder = Folder::new();
    folder.open();
    let mut options = folder.options();
    options.directory = folder.root().join("data/postgres");
    PrivatePostgres::start(&options)
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
    assert_eq!(mode_of(&folder.root().join("data")), 0o711);
}

#[tokio::test]
async fn an_inaccessible_grandparent_is_named_and_nothing_is_created() {
    as_root!();
    let folder = Folder::new();
    let data = folder.root().join("data");
    fs_err::create_dir(&data).unwrap();
    let mut options = folder.options();
    options.directory = data.join("postgres");
    let error = PrivatePostgres::start(&options).await.unwrap_err();
    assert!(matches!(&error, Error::Inaccessible { folder: named, .. } if named == folder.root()));
    assert!(
        error
            .to_string()
            .contains(&format!("chmod o+x {}", folder.root().display()))
    );
    assert!(!options.directory.exists());
}

#[tokio::test]
async fn a_cluster_that_root_copied_gets_its_owner_back() {
    as_root!();
    let folder = Folder::new();
    PrivatePostgres::start(&folder.options())
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
    let chown = Command::new("chown")
        .args(["-R", "root:root"])
        .arg(folder.cluster())
        .status();
    assert!(chown.unwrap().success());
    PrivatePostgres::start(&folder.options())
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
    let version = fs_err::metadata(folder.cluster().join("data/PG_VERSION")).unwrap();
    assert_ne!(version.uid(), 0);
}

/// Runs `with-postgres` as `nobody` if this process is root, else as its own user.
fn as_ordinary_user(folder: &Folder, script: &str) -> std::process::Output {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
        command.arg(with_postgres());
        command
    } else {
        Command::new(with_postgres())
    };
    command
        .arg(folder.cluster())
        .args(["--", "sh", "-c", script])
        .output()
        .unwrap()
}

#[tokio::test]
async fn root_can_run_the_cluster_of_an_ordinary_user_without_changing_its_owner() {
    let folder = Folder::new();
    fs_err::set_permissions(folder.root(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let script = "psql -XAtc 'CREATE TABLE theirs ()' \"$DATABASE_URL\" && exit 3";
    let output = as_ordinary_user(&folder, script);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let owner = fs_err::metadata(folder.cluster()).unwrap().uid();

    let postgres = PrivatePostgres::start(&folder.options()).await.unwrap();
    postgres
        .query("postgres", "SELECT FROM theirs")
        .await
        .unwrap();
    postgres.stop().await.unwrap();
    assert_eq!(fs_err::metadata(folder.cluster()).unwrap().uid(), owner);
    let output = as_ordinary_user(&folder, "exit 4");
    assert_eq!(output.status.code(), Some(4), "{output:?}");
}

#[tokio::test]
async fn the_error_for_an_ordinary_user_names_the_owner_of_the_cluster() {
    as_root!();
    let folder = Folder::new();
    folder.open();
    PrivatePostgres::start(&folder.options())
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
    let chown = Command::new("chown")
        .args(["-R", "daemon"])
        .arg(folder.cluster())
        .status();
    assert!(chown.unwrap().success());
    let output = as_ordinary_user(&folder, "exit 0");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("belongs to user daemon: start as that user or as root"),
        "{text}"
    );
}

#[tokio::test]
async fn a_user_id_without_an_account_is_named_with_what_to_do() {
    as_root!();
    let folder = Folder::new();
    let uid = 2_000_012_345;
    folder.open();
    std::os::unix::fs::chown(folder.root(), Some(uid), Some(uid)).unwrap();
    let start = || {
        Command::new("setpriv")
            .args([&format!("--reuid={uid}"), &format!("--regid={uid}")])
            .arg("--clear-groups")
            .arg(with_postgres())
            .arg(folder.cluster())
            .args(["--", "sh", "-c", "exit 5"])
            // Neither is needed.
            .env_remove("HOME")
            .env_remove("TMPDIR")
            .output()
            .unwrap()
    };
    let refused = start();
    let text = String::from_utf8_lossy(&refused.stderr);
    let expected = format!("add the line `holdfast:x:{uid}:{uid}::/:/bin/false` to that file");
    assert!(text.contains(&expected), "{text}");
    assert!(!text.contains("could not look up"), "{text}");
    // Only initdb needs the account. A cluster that exists already runs.
    fs_err::remove_dir_all(folder.cluster()).unwrap();
    PrivatePostgres::start(&folder.options())
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
    let chown = Command::new("chown")
        .args(["-R", &format!("{uid}:{uid}")])
        .arg(folder.cluster())
        .status();
    assert!(chown.unwrap().success());
    let started = start();
    assert_eq!(started.status.code(), Some(5), "{started:?}");
}

/// Runs `with-postgres` with a small or missing `/dev/shm`, in a mount namespace.
fn with_shared_memory(folder: &Folder, prepare: &str) -> std::process::Output {
    let script = "psql -XAtc 'SHOW dynamic_shared_memory_type' \"$DATABASE_URL\"";
    Command::new("unshare")
        .args(["--mount", "sh", "-c"])
        .arg(format!("{prepare} && exec \"$@\""))
        .arg("sh")
        .arg(with_postgres())
        .arg(folder.cluster())
        .args(["--", "sh", "-c", script])
        .output()
        .unwrap()
}

#[tokio::test]
async fn a_small_or_missing_shared_memory_is_replaced_by_files() {
    as_root!();
    let mounts = Command::new("unshare").args(["--mount", "true"]).output();
    if !mounts.is_ok_and(|done| done.status.success()) {
        println!("skipped: no mount namespaces here");
        return;
    }
    let folder = Folder::new();
    for (prepare, expected) in [
        ("true", "posix\n"),
        ("mount -t tmpfs -o size=64k none /dev/shm", "mmap\n"),
        (
            "mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3",
            "mmap\n",
        ),
    ] {
        let output = with_shared_memory(&folder, prepare);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(text, expected, "{prepare}: {output:?}");
    }
}

#[tokio::test]
async fn a_file_system_without_owners_and_modes_is_refused() {
    as_root!();
    let folder = Folder::new();
    folder.open();
    let image = folder.root().join("image");
    fs_err::File::create(&image)
        .unwrap()
        .set_len(16 << 20)
        .unwrap();
    let mounted = folder.root().join("mounted");
    fs_err::create_dir(&mounted).unwrap();
    let made = Command::new("mkfs.vfat").arg(&image).output();
    let is_made = made.is_ok_and(|made| made.status.success());
    let mount = || {
        Command::new("mount")
            .args(["-o", "loop"])
            .args([&image, &mounted])
            .status()
    };
    if !is_made || !mount().is_ok_and(|status| status.success()) {
        println!("skipped: mkfs.vfat or mounting a loop device does not work here");
        return;
    }
    let mut options = folder.options();
    options.directory = mounted.join("postgres");
    let started = PrivatePostgres::start(&options).await;
    let unmounted = Command::new("umount").arg("-l").arg(&mounted).status();
    assert!(unmounted.unwrap().success());
    let text = started.unwrap_err().to_string();
    assert!(text.contains("does not store owners and modes"), "{text}");
}
