//! `POST …/backups/{backup}/restore` with `paths`: single files and folders.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use holdfast_domain::job::RestoreArgs;
use holdfast_domain::{Permission, RestorePaths};

use crate::disks::{Bucket, open_proxy};
use crate::support::app::App;
use crate::support::client::send;
use crate::support::files;
use crate::support::proxy::Fault;
use crate::support::s3::S3Server;

/// A backup of a server, some of whose files have changed since then.
struct Changed {
    uuid: String,
    before: BTreeMap<PathBuf, String>,
    now: BTreeMap<PathBuf, String>,
}

impl Changed {
    async fn of(app: &App) -> Self {
        files::make_server(&app.directory);
        let uuid = app.backup().await;
        let before = files::tree(&app.directory);
        let write = |path: &str| files::write(&app.directory.join(path), b"changed");
        write("server.properties");
        write("start.sh");
        write("world/region/r.0.0.mca");
        write("world/region/new.mca");
        write("logs/latest.log");
        let now = files::tree(&app.directory);
        Self { uuid, before, now }
    }

    /// The files now, with those below these paths as they were.
    fn with(&self, restored: &[&str], kept: &[&str]) -> BTreeMap<PathBuf, String> {
        let is_restored = |path: &&PathBuf| {
            restored.iter().any(|restored| path.starts_with(restored))
                && !kept.iter().any(|kept| path.starts_with(kept))
        };
        let others = self.now.iter().filter(|(path, _)| !is_restored(path));
        let back = self.before.iter().filter(|(path, _)| is_restored(path));
        others
            .chain(back)
            .map(|(path, text)| (path.clone(), text.clone()))
            .collect()
    }
}

/// The files of a server, without the time of a folder in which entries were exchanged.
fn tree(app: &App) -> BTreeMap<PathBuf, String> {
    files::tree(&app.directory)
}

/// Compares trees, except for the times of the folders above restored paths.
#[track_caller]
fn assert_same(found: &BTreeMap<PathBuf, String>, expected: &BTreeMap<PathBuf, String>) {
    for (path, text) in expected {
        if path != Path::new("world") {
            assert_eq!(found.get(path), Some(text), "{}", path.display());
        }
    }
    assert!(found.keys().eq(expected.keys()), "{found:?}");
}

async fn last_restore(app: &App) -> Value {
    let url = format!(
        "{}/api/client/servers/{}/activity",
        app.base_url, app.server.id
    );
    let listed = send(app.as_owner().plain(Method::GET, &url)).await.json();
    let mut entries = listed["data"].as_array().unwrap().iter();
    let entry = entries.find(|entry| entry["attributes"]["event"] == "server:backup.restore");
    entry.unwrap()["attributes"]["properties"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_requested_files_and_folders_are_replaced() {
    for truncate in [true, false] {
        let app = App::start().await;
        let changed = Changed::of(&app).await;
        let inode = |path: &str| fs_err::metadata(app.directory.join(path)).unwrap().ino();
        let kept = ["", "world", "logs/latest.log"].map(inode);
        let paths = ["world/region", "server.properties"];
        let body = json!({ "paths": paths, "truncate": truncate });
        // The permission is that of a whole restore.
        let subuser = app
            .as_subuser(&[Permission::Read, Permission::Restore])
            .await;
        let answer = subuser.restore(&changed.uuid, body).await;
        assert_eq!((answer.status, answer.bytes.len()), (202, 0));
        let restore = app.restored(&changed.uuid).await;
        assert_eq!(restore["status"], "completed", "{restore}");
        let new = ["world/region/new.mca"];
        let keeps = if truncate { &[][..] } else { &new };
        assert_same(&tree(&app), &changed.with(&paths, keeps));
        assert_eq!(kept, ["", "world", "logs/latest.log"].map(inode));
        let logged = last_restore(&app).await;
        assert_eq!(logged["paths"], json!(paths), "{logged}");
        assert_eq!(logged["truncate"], truncate, "{logged}");
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_that_are_invalid_or_not_in_the_backup_are_refused_at_once() {
    let app = App::start().await;
    let changed = Changed::of(&app).await;
    let many: Vec<String> = (0..101).map(|number| number.to_string()).collect();
    for (paths, field, rule) in [
        (json!([]), "paths", "min"),
        (json!("world"), "paths", "array"),
        (json!(["world", 5]), "paths", "array"),
        (json!(many), "paths", "max"),
        (json!(["/etc/passwd"]), "paths.0", "regex"),
        (json!(["world", "../x"]), "paths.1", "regex"),
        (json!(["world/./region"]), "paths.0", "regex"),
        (json!(["world//region"]), "paths.0", "regex"),
        (json!([""]), "paths.0", "regex"),
        (json!(["a\u{0}b"]), "paths.0", "regex"),
        (json!(["world", "world/region"]), "paths.1", "distinct"),
        (json!(["world", "nowhere/file"]), "paths.1", "exists"),
        (json!(["world/regio"]), "paths.0", "exists"),
    ] {
        let body = json!({ "paths": paths, "truncate": true });
        let answer = app.as_owner().restore(&changed.uuid, body).await;
        assert_eq!(answer.status, 422, "{paths}");
        let error = &answer.json()["errors"][0]["meta"];
        assert_eq!(error["source_field"], field, "{paths}: {error}");
        assert_eq!(error["rule"], rule, "{paths}: {error}");
    }
    // A restore of everything is never meant by a query.
    let path = format!("/{}/restore?paths=world", changed.uuid);
    let answer = send(app.as_owner().request(Method::POST, &path)).await;
    assert_eq!(answer.status, 422);
    let jobs = "SELECT count(*) FROM jobs WHERE kind = 'restore_backup'";
    assert_eq!(app.sql().number(jobs).await, 0);
    assert_eq!(tree(&app), changed.now);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_index_the_whole_archive_is_verified_and_the_job_says_what_is_missing() {
    let app = App::start().await;
    let changed = Changed::of(&app).await;
    let archive = app.archive(&changed.uuid);
    let index = archive.with_file_name(format!("{}.index", changed.uuid));
    fs_err::remove_file(index).unwrap();
    let restore = async |path: &str| {
        let body = json!({ "paths": [path] });
        let answer = app.as_owner().restore(&changed.uuid, body).await;
        assert_eq!(answer.status, 202);
        app.restored(&changed.uuid).await
    };
    let failed = restore("world/nothing").await;
    let text = "The backup has no `world/nothing`. Nothing was changed.";
    assert_eq!(failed["error"], text, "{failed}");
    assert_eq!(tree(&app), changed.now);
    let restored = restore("world/region").await;
    assert_eq!(restored["status"], "completed", "{restored}");
    assert_same(&tree(&app), &changed.with(&["world/region"], &[]));
    // A byte that is not of the requested file is enough.
    let mut bytes = fs_err::read(&archive).unwrap();
    let last = bytes.len() - 20;
    bytes[last] ^= 1;
    fs_err::write(&archive, bytes).unwrap();
    let failed = restore("server.properties").await;
    assert!(
        failed["error"].as_str().unwrap().contains("damaged"),
        "{failed}"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_place_of_a_folder_fails_the_restore_and_is_not_followed() {
    let app = App::start().await;
    let changed = Changed::of(&app).await;
    let outside = app.beside("outside");
    files::write(&outside.join("region/kept"), b"outside");
    fs_err::remove_dir_all(app.directory.join("world")).unwrap();
    symlink(&outside, app.directory.join("world")).unwrap();
    let now = tree(&app);
    let body = json!({ "paths": ["world/region", "start.sh"] });
    assert_eq!(
        app.as_owner().restore(&changed.uuid, body).await.status,
        202
    );
    let failed = app.restored(&changed.uuid).await;
    let text = "`world` is in the way: it is a link, and the backup has a folder there; restore \
                this folder, or remove the link. Nothing was changed.";
    assert_eq!(failed["error"], text, "{failed}");
    assert_eq!(tree(&app), now);
    // The link itself is replaced by the folder.
    let body = json!({ "paths": ["world"] });
    assert_eq!(
        app.as_owner().restore(&changed.uuid, body).await.status,
        202
    );
    assert_eq!(app.restored(&changed.uuid).await["status"], "completed");
    assert!(
        app.directory
            .join("world/region/r.0.0.mca")
            .metadata()
            .is_ok()
    );
    assert_eq!(fs_err::read_dir(outside.join("region")).unwrap().count(), 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_ranges_of_an_archive_in_a_bucket_are_read() {
    let server = S3Server::start().await;
    let proxy = open_proxy(&server).await;
    let past = Bucket::at(server.endpoint());
    let app = App::start_with(&past.through(&proxy).settings()).await;
    files::make_server(&app.directory);
    for number in 0..40 {
        let path = app.directory.join(format!("world/large.{number}"));
        files::write(&path, &files::noise(1 << 20, number + 9));
    }
    let uuid = app.backup().await;
    let before = tree(&app);
    files::write(&app.directory.join("server.properties"), b"changed");
    // Counts what is asked of the archive.
    let (asked, is_whole) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let (counted, whole) = (Arc::clone(&asked), Arc::clone(&is_whole));
    proxy.plan(move |_, head| {
        let head = head.to_lowercase();
        let first = head.lines().next().unwrap_or_default();
        if first.starts_with("get") && first.contains(".tar.gz") {
            let mut lines = head.lines();
            let range = lines.find_map(|line| line.strip_prefix("range: bytes="));
            let range = range.and_then(|range| range.trim().split_once('-'));
            let range = range
                .and_then(|(from, to)| Some((from.parse::<u64>().ok()?, to.parse::<u64>().ok()?)));
            match range {
                Some((from, to)) => {
                    counted.fetch_add(to - from + 1, Ordering::SeqCst);
                }
                None => whole.store(true, Ordering::SeqCst),
            }
        }
        Fault::None
    });
    let body = json!({ "paths": ["server.properties"] });
    assert_eq!(app.as_owner().restore(&uuid, body).await.status, 202);
    let restored = app.restored(&uuid).await;
    assert_eq!(restored["status"], "completed", "{restored}");
    assert_same(&tree(&app), &before);
    let asked = asked.load(Ordering::SeqCst);
    assert!(asked > 0 && asked < 12 << 20, "{asked} bytes");
    assert!(!is_whole.load(Ordering::SeqCst), "all of it was read");
    app.stop().await;
}

#[test]
fn a_restore_of_paths_is_refused_by_workers_that_do_not_know_paths() {
    /// The arguments as earlier versions read them.
    #[derive(Deserialize)]
    struct Earlier {
        truncate: bool,
    }
    let whole = RestoreArgs {
        truncate: true,
        paths: None,
        panel: false,
    };
    let some = RestoreArgs {
        truncate: false,
        paths: RestorePaths::parse(vec!["world/region".to_owned()]).ok(),
        panel: true,
    };
    for (args, stored) in [
        (&whole, json!({ "truncate": true })),
        (
            &some,
            json!({ "truncate_paths": false, "paths": ["world/region"], "panel": true }),
        ),
    ] {
        assert_eq!(serde_json::to_value(args).unwrap(), stored);
        let read: RestoreArgs = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(read, *args);
        let earlier: Result<Earlier, _> = serde_json::from_value(stored);
        let earlier = earlier.map(|earlier| earlier.truncate).ok();
        assert_eq!(earlier, args.paths.is_none().then_some(true));
    }
    for contradiction in [
        json!({}),
        json!({ "truncate": true, "paths": ["a"] }),
        json!({ "truncate": true, "truncate_paths": true, "paths": ["a"] }),
        json!({ "truncate_paths": true }),
        json!({ "truncate_paths": true, "paths": ["../a"] }),
    ] {
        let read: Result<RestoreArgs, _> = serde_json::from_value(contradiction.clone());
        assert!(read.is_err(), "{contradiction}");
    }
}
