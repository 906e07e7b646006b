//! Downloads: whole or not at all, continued after a cut, and never with the key.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rustix::process::Signal;

use super::Terminal;
use crate::support::app::App;
use crate::support::eventually;
use crate::support::files::{self, files_below, write};
use crate::support::process::Process;
use crate::support::proxy::{Fault, Proxy};

/// A service with a backup of about two megabytes, and a proxy before it.
async fn with_backup() -> (App, Proxy, Terminal, String) {
    let app = App::start().await;
    write(
        &app.directory.join("world.dat"),
        &files::noise(2_000_000, 9),
    );
    let uuid = app.backup().await;
    let to = app
        .base_url
        .strip_prefix("http://")
        .unwrap()
        .parse()
        .unwrap();
    let proxy = Proxy::start(to, |_, _| Fault::None).await;
    let terminal = Terminal::at(&app, &proxy.endpoint());
    (app, proxy, terminal, uuid)
}

impl Terminal {
    fn downloads(&self) -> PathBuf {
        let folder = self.home.path().join("downloads");
        fs_err::create_dir_all(&folder).unwrap();
        folder
    }
}

fn is_download(head: &str) -> bool {
    head.starts_with("GET /download/backup?")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_is_continued_after_a_cut_and_never_has_the_key() {
    let (app, proxy, terminal, uuid) = with_backup().await;
    let heads = Arc::new(Mutex::new(Vec::<String>::new()));
    let seen = Arc::clone(&heads);
    proxy.plan(move |_, head| {
        if !is_download(head) {
            return Fault::None;
        }
        let mut seen = seen.lock().unwrap();
        seen.push(head.to_lowercase());
        match seen.len() {
            1 => Fault::CutAnswer(700_000),
            2 => Fault::Busy,
            _ => Fault::None,
        }
    });
    let target = terminal.downloads().join("world.tar.gz");
    write(&target, b"an older file");
    let (name, folder) = (target.to_str().unwrap(), terminal.downloads());
    let ended = terminal.run(&["download", "SERVER", "latest", "-o", name, "--verify"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("cut at "), "{ended:?}");
    let archive = fs_err::read(app.archive(&uuid)).unwrap();
    assert!(fs_err::read(&target).unwrap() == archive);
    assert_eq!(
        ended.stdout,
        format!("{}  {name}\n", files::sha256(&archive))
    );
    assert_eq!(
        files_below(&folder),
        ["world.tar.gz"],
        "nothing partial is left"
    );
    let heads = heads.lock().unwrap().clone();
    assert_eq!(heads.len(), 3, "{heads:?}");
    assert!(!heads[0].contains("range: "), "{heads:?}");
    for head in &heads[1..] {
        assert!(head.contains("range: bytes="), "{head}");
        assert!(!head.contains("range: bytes=0-"), "{head}");
    }
    let has_key = |head: &String| head.contains("authorization") || head.contains("ptlc_");
    assert!(!heads.iter().any(has_key), "{heads:?}");

    // To a folder, and to standard output.
    let folder_name = folder.to_str().unwrap();
    let told = terminal.json(&["download", "SERVER", &uuid, "-o", folder_name]);
    assert_eq!(told["sha256_hash"], files::sha256(&archive));
    assert!(folder.join(format!("{uuid}.tar.gz")).exists());
    let cut = Mutex::new(false);
    proxy.plan(move |_, head| {
        let mut cut = cut.lock().unwrap();
        match is_download(head) && !std::mem::replace(&mut *cut, true) {
            true => Fault::CutAnswer(700_000),
            false => Fault::None,
        }
    });
    let output = terminal
        .command(&["download", &terminal.server, "-o", "-"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout == archive);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_download_leaves_a_file_that_the_next_one_continues() {
    let (app, proxy, terminal, uuid) = with_backup().await;
    let first = Mutex::new(true);
    proxy.plan(move |_, head| {
        let mut first = first.lock().unwrap();
        match is_download(head) {
            false => Fault::None,
            true if std::mem::replace(&mut *first, false) => Fault::CutAnswer(900_000),
            true => Fault::Silence,
        }
    });
    let folder = terminal.downloads();
    let target = folder.join("world.tar.gz");
    let name = target.to_str().unwrap();
    let arguments = ["download", "SERVER", "latest", "-o", name];
    let mut command = terminal.command(&arguments.map(|argument| match argument {
        "SERVER" => terminal.server.as_str(),
        other => other,
    }));
    let mut process = Process::start(&mut command, terminal.home.path());
    let partial = eventually("the first part is there", async || {
        let files = files_below(&folder);
        let partial = folder.join(files.first()?);
        let length = fs_err::metadata(&partial).unwrap().len();
        (length > 800_000 && process.log().contains("cut at ")).then_some(partial)
    })
    .await;
    let refused = terminal.failure(&arguments);
    assert!(refused.starts_with("another process writes "), "{refused}");
    process.signal(Signal::INT);
    let status = process.ended().await;
    assert_eq!(status.code(), Some(130), "{}", process.log());
    assert!(
        process.log().contains("the same command continues"),
        "{}",
        process.log()
    );
    assert!(partial.exists() && !target.exists());

    let archive = fs_err::read(app.archive(&uuid)).unwrap();
    let length = fs_err::metadata(&partial).unwrap().len();
    let ranges = Arc::new(Mutex::new(Vec::<String>::new()));
    let seen = Arc::clone(&ranges);
    proxy.plan(move |_, head| {
        let head = head.to_lowercase();
        let range = head.lines().find_map(|line| line.strip_prefix("range: "));
        seen.lock().unwrap().extend(range.map(str::to_owned));
        Fault::None
    });
    let ended = terminal.run(&arguments);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("continuing "), "{ended:?}");
    assert_eq!(*ranges.lock().unwrap(), [format!("bytes={length}-")]);
    assert!(fs_err::read(&target).unwrap() == archive);
    assert_eq!(files_below(&folder), ["world.tar.gz"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_another_hash_is_not_kept() {
    let (app, _proxy, terminal, uuid) = with_backup().await;
    let folder = terminal.downloads();
    let target = folder.join("world.tar.gz");
    write(&target, b"an older file");
    let name = target.to_str().unwrap();
    let archive = fs_err::read(app.archive(&uuid)).unwrap();

    // A partial file with other contents.
    let hash = files::sha256(&archive);
    let partial = folder.join(format!("world.tar.gz.{}.partial", &hash[..16]));
    write(&partial, b"something else");
    let refused = terminal.run(&["download", "SERVER", "latest", "-o", name]);
    assert_eq!(
        (refused.code, refused.stdout.as_str()),
        (Some(1), ""),
        "{refused:?}"
    );
    assert!(
        refused.stderr.contains("is not the one of the backup"),
        "{refused:?}"
    );
    assert_eq!(
        files_below(&folder),
        ["world.tar.gz"],
        "the partial file is gone"
    );
    assert_eq!(fs_err::read(&target).unwrap(), b"an older file");

    // A link, which could lead to any file of the user.
    let secret = terminal.home.path().join("secret");
    write(&secret, b"a secret");
    std::os::unix::fs::symlink(&secret, &partial).unwrap();
    let refused = terminal.failure(&["download", "SERVER", "latest", "-o", name]);
    assert!(refused.contains(".partial"), "{refused}");
    assert_eq!(fs_err::read(&secret).unwrap(), b"a secret");
    fs_err::remove_file(&partial).unwrap();

    // An archive that was damaged on its disk.
    let mut damaged = archive.clone();
    damaged[1_000_000] ^= 1;
    fs_err::write(app.archive(&uuid), &damaged).unwrap();
    let refused = terminal.failure(&["download", "SERVER", "latest", "-o", name]);
    assert!(
        refused.contains("is not the one of the backup"),
        "{refused}"
    );
    let stdout = terminal
        .command(&["download", &terminal.server, "-o", "-"])
        .output()
        .unwrap();
    assert_eq!(stdout.status.code(), Some(1));
    assert_eq!(files_below(&folder), ["world.tar.gz"]);
    assert_eq!(fs_err::read(&target).unwrap(), b"an older file");
    // An archive that lost its end.
    fs_err::write(app.archive(&uuid), &archive[..1_000_000]).unwrap();
    let refused = terminal.run(&["download", "SERVER", "latest", "-o", name]);
    assert_eq!(
        (refused.code, refused.stdout.as_str()),
        (Some(1), ""),
        "{refused:?}"
    );
    assert_eq!(fs_err::read(&target).unwrap(), b"an older file");

    fs_err::write(app.archive(&uuid), &archive).unwrap();
    let ended = terminal.run(&["download", "SERVER", "latest", "-o", name]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let missing = terminal.failure(&["download", "SERVER", "-o", "no/such/folder/x.tar.gz"]);
    assert!(missing.contains("no/such/folder"), "{missing}");
    app.stop().await;
}
