//! What other users of the machine may read: nothing of the data folder, and of a disk only what
//! its group may.

use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::process::Command;

use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;

use crate::support::app::{App, Setting};
use crate::support::client::{Client, send};
use crate::support::nginx::Nginx;
use crate::support::process::{Ended, Process, holdfast, run};
use crate::support::{eventually, files, is_root, skipped};

/// A group that no machine has a name for.
const GROUP: &str = "4321";

/// The same command with another umask.
fn with_umask(umask: &str, command: &Command) -> Command {
    let mut changed = Command::new("sh");
    changed.args(["-c", "umask $0; exec \"$@\"", umask]);
    changed.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => changed.env(name, value),
            None => changed.env_remove(name),
        };
    }
    changed
}

/// Reads a file as another user, in a group; `None`, with a message, if this process is not root.
fn read_as(user: &str, group: &str, path: &Path) -> Option<Ended> {
    if !is_root() {
        skipped("only root can run a program as another user");
        return None;
    }
    let mut command = Command::new("setpriv");
    let user = [format!("--reuid={user}"), format!("--regid={group}")];
    command
        .args(user)
        .args(["--clear-groups", "--", "sha256sum"]);
    Some(run(command.arg(path).current_dir("/")))
}

/// Everything below a folder that the group or others may read or change, the folder itself
/// included.
fn open_to_others(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut paths = vec![folder.to_owned()];
    while let Some(path) = paths.pop() {
        let metadata = fs_err::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            let entries = fs_err::read_dir(&path).unwrap();
            paths.extend(entries.map(|entry| entry.unwrap().path()));
        }
        if !metadata.is_symlink() && metadata.mode() & 0o066 != 0 {
            found.push(format!("{:o} {}", metadata.mode(), path.display()));
        }
    }
    found
}

fn admin(data: &Path, arguments: &[&str]) -> Ended {
    let mut command = holdfast(&[]);
    command.args(["admin", "--json"]).args(arguments);
    run(command.arg("--data").arg(data))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_the_data_folder_is_open_to_others_whatever_the_umask() {
    for umask in ["000", "022"] {
        let folder = files::scratch();
        let data = folder.path().join("parent/data");
        let directory = folder.path().join("server");
        files::make_server(&directory);
        let mut up = holdfast(&[]);
        up.args(["up", "--listen", "127.0.0.1:0", "--data"])
            .arg(&data);
        let mut up = Process::start(&mut with_umask(umask, &up), folder.path());
        let url = up.url().await;
        let email = "owner@example.com";
        admin(&data, &["user", "create", "--email", email]).json();
        let server = ["server", "create", "--owner", email, "--name", "S", "--dir"];
        let server = [&server[..], &[directory.to_str().unwrap()]].concat();
        let server = admin(&data, &server).json();
        let key = admin(&data, &["key", "create", "--user", email]).json();
        let token = key["token"].as_str().unwrap().to_owned();
        let owner = Client::new(&url, server["identifier"].as_str().unwrap(), Some(token));
        let uuid = owner.create(json!({})).await.uuid();
        eventually("the backup is completed", async || {
            let backup = owner.show(&uuid).await.attributes();
            (backup["status"] == "completed").then_some(())
        })
        .await;
        assert_eq!(owner.restore(&uuid, json!({})).await.status, 202);
        eventually("the restore is completed", async || {
            let backup = owner.show(&uuid).await.attributes();
            (backup["restore"]["status"] == "completed").then_some(())
        })
        .await;
        assert_eq!(
            send(owner.plain(Method::GET, &format!("{url}/readyz")))
                .await
                .status,
            200
        );

        assert_eq!(open_to_others(&data), [""; 0], "umask {umask}");
        assert_eq!(files::mode(&data), 0o711);
        assert_eq!(files::mode(data.parent().unwrap()), 0o711);
        for name in ["holdfast.lock", "signing.key", "backups/.holdfast-disk"] {
            assert_eq!(files::mode(&data.join(name)), 0o600, "{name}");
        }
        let archives = data.join("backups");
        let below = files::files_below(&archives);
        let archive = below.iter().find(|name| name.ends_with(".tar.gz")).unwrap();
        let archive = archives.join(archive);
        assert_eq!(files::mode(&archive), 0o600);
        assert_eq!(files::mode(archive.parent().unwrap()), 0o700);
        if let Some(read) = read_as("65534", "65534", &archive) {
            assert!(read.stderr.contains("Permission denied"), "{read:?}");
            assert_eq!(read.stdout, "");
        }
        up.signal(Signal::TERM);
        assert!(up.ended().await.success(), "{}", up.log());
        let told = "set the permissions of files";
        assert!(
            !up.log().contains(told),
            "there was nothing to set: {}",
            up.log()
        );
    }
}

/// Starts a worker on the service's disk, and waits until it has looked at the whole disk.
async fn worker_that_has_repaired(app: &App, settings: &[Setting<'_>]) -> Process {
    let ended = "SELECT count(*) FROM maintenance_runs \
                 WHERE task = 'partials' AND finished_at IS NOT NULL";
    let before = app.sql().number(ended).await;
    let url = app.sql().url();
    let settings = [settings, &[("database.url", url.as_str())]].concat();
    let data = app.disk.parent().unwrap();
    let mut command = holdfast(&settings);
    let worker = Process::start(command.args(["worker", "--data"]).arg(data), data);
    // That task comes after the permissions.
    eventually("the leader of the node has begun its work", async || {
        (app.sql().number(ended).await > before).then_some(())
    })
    .await;
    worker
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_disk_is_closed_at_the_next_start_and_this_is_told_once() {
    let mut app = App::start().await;
    files::make_server(&app.directory);
    let uuid = app.backup().await;
    app.stop_workers().await;
    let archive = app.archive(&uuid);
    let folder = archive.parent().unwrap();
    // As the earlier version left it.
    for path in [&app.disk, folder] {
        files::set_mode(path, 0o755);
    }
    let objects = files::files_below(&app.disk);
    assert_eq!(objects.len(), 4, "{objects:?}");
    for name in &objects {
        files::set_mode(&app.disk.join(name), 0o644);
    }
    // A link with the name of an object is not followed.
    let outside = app.beside("outside");
    files::write(&outside, b"mine");
    files::set_mode(&outside, 0o644);
    let other = "a4962fe6-90c8-4b89-ba62-a5d3b06426c0";
    symlink(&outside, folder.join(format!("{other}.tar.gz"))).unwrap();

    let told = "set the permissions of files and folders of a disk";
    let mut worker = worker_that_has_repaired(&app, &[]).await;
    assert_eq!(open_to_others(&app.disk), [""; 0]);
    assert_eq!(files::mode(&archive), 0o600);
    assert_eq!(files::mode(&outside), 0o644);
    worker.signal(Signal::TERM);
    assert!(worker.ended().await.success(), "{}", worker.log());
    // The root with its marker when the disk is opened, then all that is in it.
    let log = worker.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(told)).collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(
        lines[0].contains("changed=2") && lines[1].contains("changed=4"),
        "{log}"
    );

    let mut worker = worker_that_has_repaired(&app, &[]).await;
    worker.signal(Signal::TERM);
    assert!(worker.ended().await.success(), "{}", worker.log());
    assert!(!worker.log().contains(told), "{}", worker.log());
    // Everything still works.
    app.add_worker(&[]);
    assert_eq!(app.as_owner().restore(&uuid, json!({})).await.status, 202);
    assert_eq!(app.restored(&uuid).await["status"], "completed");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_in_the_settings_may_read_archives_and_nobody_else() {
    if !is_root() {
        return skipped("only root can give files to any group");
    }
    let mut app = App::start().await;
    files::make_server(&app.directory);
    let before = app.backup().await;
    app.stop_workers().await;
    let group = [("storage.disks.local.group", GROUP)];
    let mut worker = worker_that_has_repaired(&app, &group).await;
    let uuid = app.as_owner().create(json!({})).await.uuid();
    assert_eq!(app.ended(&uuid).await["status"], "completed");
    worker.signal(Signal::TERM);
    assert!(worker.ended().await.success(), "{}", worker.log());
    // The test's folder itself is passable.
    files::set_mode(app.disk.parent().unwrap(), 0o711);
    for uuid in [&before, &uuid] {
        let archive = app.archive(uuid);
        assert_eq!(files::mode(&archive), 0o640);
        assert_eq!(files::mode(archive.parent().unwrap()), 0o750);
        let hash = files::sha256(&fs_err::read(&archive).unwrap());
        let read = read_as("65534", GROUP, &archive).unwrap();
        assert!(read.stdout.starts_with(&hash), "{read:?}");
        for (user, group) in [("65534", "65534"), ("4321", "65534")] {
            let read = read_as(user, group, &archive).unwrap();
            assert!(read.stderr.contains("Permission denied"), "{read:?}");
        }
        // Reading is all that the group may do.
        let mut remove = Command::new("setpriv");
        remove.args(["--reuid=65534", "--regid=4321", "--clear-groups", "--"]);
        let removed = run(remove.args(["rm", "-f"]).arg(&archive));
        assert!(removed.stderr.contains("Permission denied"), "{removed:?}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_sends_an_archive_as_another_user_only_with_the_group() {
    let group = match is_root() {
        true => "nogroup".to_owned(),
        false => rustix::process::getegid().as_raw().to_string(),
    };
    let accel = ("downloads.accel_path", "/archives");
    for settings in [
        &[accel][..],
        &[accel, ("storage.disks.local.group", &group)],
    ] {
        let is_readable = settings.len() > 1 || !is_root();
        let app = App::start_with(settings).await;
        files::set_mode(app.disk.parent().unwrap(), 0o711);
        files::make_server(&app.directory);
        let uuid = app.backup().await;
        let service = app.base_url.strip_prefix("http://").unwrap();
        let own = include_str!("../../deploy/nginx/holdfast.conf");
        let at = own.find("    location /archives/local/").unwrap();
        let location = own[at..].trim_end().strip_suffix('}').unwrap();
        let location = location.replace("/var/lib/holdfast/backups", app.disk.to_str().unwrap());
        let locations = format!("location / {{ proxy_pass http://{service}; }}\n{location}");
        if let Some(nginx) = Nginx::start_as("nobody nogroup", &locations).await {
            let owner = app.as_owner().at(&nginx.url);
            let link = app.as_owner().download(&uuid).await.link();
            let path = link.strip_prefix(&app.base_url).unwrap();
            let answer = send(owner.plain(Method::GET, &format!("{}{path}", nginx.url))).await;
            let archive = fs_err::read(app.archive(&uuid)).unwrap();
            match is_readable {
                true => assert_eq!((answer.status, answer.bytes == archive), (200, true)),
                false => assert_eq!(answer.status, 403),
            }
            let direct = format!(
                "{}/archives/local/{}/{uuid}.tar.gz",
                nginx.url, app.server.id
            );
            assert_eq!(send(owner.plain(Method::GET, &direct)).await.status, 404);
        }
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_may_not_read_a_disk_is_reported_at_the_start() {
    let app = App::without_worker(&[]).await;
    let url = app.sql().url();
    let own = rustix::process::getegid().as_raw().to_string();
    let folder = files::scratch();
    for (group, is_told) in [("", true), (own.as_str(), false)] {
        let settings = [
            ("database.url", url.as_str()),
            ("downloads.accel_path", "/archives"),
            ("storage.disks.local.group", group),
        ];
        let mut command = holdfast(&settings);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]);
        command.arg(folder.path().join("data"));
        let mut serve = Process::start(&mut command, folder.path());
        serve.url().await;
        serve.signal(Signal::TERM);
        assert!(serve.ended().await.success(), "{}", serve.log());
        let told = "downloads.accel_path is set, but only the user of this service may read the \
                    disk: set storage.disks.local.group";
        assert_eq!(serve.log().contains(told), is_told, "{}", serve.log());
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_cannot_be_used_is_reported_before_anything_is_created() {
    let folder = files::scratch();
    files::set_mode(folder.path(), 0o777);
    let data = folder.path().join("data");
    let unknown = [("storage.disks.local.group", "no-such-group")];
    for arguments in [&["check-config"][..], &["up"], &["worker"]] {
        let ended = run(holdfast(&unknown).args(arguments).arg("--data").arg(&data));
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let told = "there is no group `no-such-group` on this machine";
        assert!(ended.stderr.contains(told), "{ended:?}");
        assert!(
            ended.stderr.contains("storage.disks.local.group"),
            "{ended:?}"
        );
    }
    let binary = env!("CARGO_BIN_EXE_holdfast");
    let passes = |program: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
        command.arg(program).current_dir("/");
        command
    };
    let may_run = passes("test").args(["-x", binary]).status();
    if !is_root() || !may_run.is_ok_and(|status| status.success()) {
        skipped("this process is not root, or others can't run this binary");
    } else {
        for arguments in [&["check-config"][..], &["up"]] {
            let mut command = passes(binary);
            command.env("HOLDFAST__STORAGE__DISKS__LOCAL__GROUP", GROUP);
            let ended = run(command.args(arguments).arg("--data").arg(&data));
            let told = "must be a group of the user that this process runs as (user 65534), or \
                        the process must be root; it is not in `4321`";
            assert_eq!(ended.code, Some(1), "{ended:?}");
            assert!(ended.stderr.contains(told), "{ended:?}");
        }
    }
    assert!(!data.exists());
}
