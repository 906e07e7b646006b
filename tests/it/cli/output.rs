//! What commands print, and what happens when nobody can read it.

use std::io::Read as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::Admin;
use crate::support::database::TestDatabase;
use crate::support::files;
use crate::support::process::{Ended, Process, holdfast, run};

/// Runs a command whose stdout is a full disk.
fn into_full_disk(command: &mut Command) -> (Option<i32>, String) {
    let full = fs_err::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let ended = command.stdout(full.into_file()).output().unwrap();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    (ended.status.code(), stderr)
}

/// Runs a command whose reader has closed the pipe.
fn into_closed_pipe(command: &mut Command) -> Ended {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = command
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    let code = child.wait().unwrap().code();
    let stdout = String::new();
    Ended {
        code,
        stdout,
        stderr,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_cannot_be_written_is_an_error() {
    let folder = files::scratch();
    let source = folder.path().join("server");
    fs_err::create_dir(&source).unwrap();
    // Without a line break at its end.
    fs_err::write(source.join("motd"), "abc").unwrap();
    let database = TestDatabase::create().await;
    let admin = Admin::new(&database);
    let archive = ["archive", "list", "a.tgz"];
    for arguments in [
        &["--help"][..],
        &["admin", "key", "create", "--help"],
        &["--version"],
        &["openapi"],
        &["check-config"],
        &["archive", "create", "server", "a.tgz"],
        &archive,
        &["archive", "verify", "a.tgz"],
        &["archive", "cat", "a.tgz", "motd"],
        &["archive", "restore", "a.tgz", "restored"],
        &["migrate"],
        &["migrate", "--check"],
        &["admin", "user", "list"],
        &["admin", "--json", "user", "list"],
        &[
            "admin",
            "--json",
            "user",
            "create",
            "--email",
            "a@example.com",
        ],
    ] {
        let command = || {
            let mut command = admin.command();
            command.args(arguments).current_dir(folder.path());
            command
        };
        let (code, stderr) = into_full_disk(&mut command());
        assert_eq!(code, Some(1), "{arguments:?}: {stderr}");
        assert!(
            stderr.contains("No space left on device"),
            "{arguments:?}: {stderr}"
        );
        assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
    }
    // What was done is done.
    let (_, stderr) = into_full_disk(admin.command().args(["admin", "user", "list"]));
    assert!(stderr.contains("the command was carried out"), "{stderr}");
    let users = admin.json(&["user", "list"]);
    assert_eq!(users[0]["email"], "a@example.com");

    // A wrong command line is an error of its own.
    let (code, stderr) = into_full_disk(holdfast(&[]).arg("dance"));
    assert_eq!(code, Some(2), "{stderr}");

    // `| head` ends a command like other programs: silently, as by SIGPIPE.
    for arguments in [&["openapi"][..], &archive, &["--help"]] {
        let mut command = admin.command();
        command.args(arguments).current_dir(folder.path());
        let ended = into_closed_pipe(&mut command);
        assert_eq!(
            (ended.code, ended.stderr.as_str()),
            (Some(141), ""),
            "{arguments:?}"
        );
    }
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_nobody_has_seen_does_not_exist() {
    let database = TestDatabase::create().await;
    let admin = Admin::new(&database);
    let email = "a@example.com";
    admin.json(&["user", "create", "--email", email]);
    let key = ["key", "create", "--user", email];
    let webhook = ["webhook", "create", "--url", "http://127.0.0.1:1"];
    for (arguments, noun) in [(&key[..], "key"), (&webhook[..], "webhook")] {
        for flags in [&["admin", "--json"][..], &["admin"]] {
            let command = || {
                let mut command = admin.command();
                command.args(flags).args(arguments);
                command
            };
            let created = format!("holdfast: the {noun} was not created: ");
            let (code, stderr) = into_full_disk(&mut command());
            assert_eq!(code, Some(1), "{stderr}");
            assert!(stderr.starts_with(&created), "{stderr}");
            let ended = into_closed_pipe(&mut command());
            assert_eq!(ended.code, Some(1), "{ended:?}");
            assert_eq!(ended.stderr, format!("{created}stdout is closed\n"));
        }
        assert_eq!(admin.json(&[noun, "list"]), json!([]));
        // Nothing was created, so the log of changes has nothing, too.
        let logged =
            format!("SELECT count(*) FROM operator_actions WHERE command = 'admin {noun} create'");
        assert_eq!(database.number(&logged).await, 0);
        admin.json(arguments);
        assert_eq!(
            admin.json(&[noun, "list"]).as_array().map(Vec::len),
            Some(1)
        );
        assert_eq!(database.number(&logged).await, 1);
    }
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_runs_without_a_reader_of_its_output() {
    let database = TestDatabase::create().await;
    let folder = files::scratch();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = free.local_addr().unwrap().to_string();
    drop(free);
    let url = database.url();
    let mut command = holdfast(&[("database.url", &url)]);
    command.args(["serve", "--listen", &listen, "--data"]);
    command.arg(folder.path().join("data"));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(writer.try_clone().unwrap()).stderr(writer);
    let mut child = command.spawn().unwrap();
    let health = format!("http://{listen}");
    crate::support::eventually("the service answers", async || {
        assert_eq!(child.try_wait().unwrap(), None);
        let asked = run(holdfast(&[]).args(["healthcheck", "--url", &health]));
        (asked.code == Some(0)).then_some(())
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_works_without_a_filter() {
    let database = TestDatabase::create().await;
    let admin = Admin::new(&database);
    for email in ["owner@example.com", "b@example.com", "a@example.com"] {
        admin.json(&["user", "create", "--email", email]);
    }
    let folder = files::scratch();
    let mut servers: Vec<String> = ["one", "two"]
        .map(|name| {
            let dir = folder.path().join(name);
            fs_err::create_dir(&dir).unwrap();
            let dir = dir.to_str().unwrap();
            let create = [
                "server",
                "create",
                "--owner",
                "owner@example.com",
                "--name",
                name,
            ];
            let made = admin.json(&[&create[..], &["--dir", dir]].concat());
            made["uuid"].as_str().unwrap().to_owned()
        })
        .into();
    servers.sort();
    for server in &servers {
        for user in ["b@example.com", "a@example.com"] {
            let set = ["subuser", "set", "--server", server, "--user", user];
            admin.json(&[&set[..], &["--permission", "backup.read"]].concat());
        }
    }
    let who = |rows: &Value| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let rows = rows.as_array().unwrap().iter();
        rows.map(|row| (text(&row["server"]), text(&row["user"])))
            .collect()
    };
    let of = |server: &String| {
        ["a@example.com", "b@example.com"].map(|user| (server.clone(), user.to_owned()))
    };
    let all = admin.json(&["subuser", "list"]);
    assert_eq!(who(&all), [of(&servers[0]), of(&servers[1])].concat());
    let one = admin.json(&["subuser", "list", "--server", &servers[1]]);
    assert_eq!(who(&one), of(&servers[1]));
    for noun in [
        "user",
        "key",
        "server",
        "subuser",
        "schedule",
        "backup",
        "job",
        "webhook",
        "maintenance",
    ] {
        assert!(admin.json(&[noun, "list"]).is_array(), "{noun}");
    }
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_terminal_stops_the_service_cleanly_unless_that_is_ignored() {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    if is_in_mask(&status, "SigIgn:", 1) {
        println!("skipped: the tests run under nohup, and their children inherit that");
        return;
    }
    let folder = files::scratch();
    let data = folder.path().join("data");
    let (mut up, url) = Process::up(&data, &[]).await;
    up.signal(rustix::process::Signal::HUP);
    assert!(up.ended().await.success(), "{}", up.log());
    assert!(up.log().contains("stopping"), "{}", up.log());
    let gone = run(holdfast(&[]).args(["healthcheck", "--url", &url]));
    assert_eq!(gone.code, Some(1), "{gone:?}");
    let postmaster = data.join("postgres/data/postmaster.pid");
    assert!(
        !postmaster.exists(),
        "the private PostgreSQL was stopped, too"
    );

    let database = TestDatabase::create().await;
    let database_url = database.url();
    for program in ["serve", "worker"] {
        let mut command = holdfast(&[("database.url", &database_url)]);
        command.args([program, "--data"]).arg(&data);
        if program == "serve" {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let mut process = Process::start(&mut command, folder.path());
        catches(&process, 1).await;
        process.signal(rustix::process::Signal::HUP);
        assert!(process.ended().await.success(), "{}", process.log());
    }

    // As `nohup` starts it.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]);
    let mut inner = holdfast(&[("database.url", &database_url)]);
    inner.args(["serve", "--listen", "127.0.0.1:0", "--data"]);
    inner.arg(&data);
    command.arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let mut ignoring = Process::start(&mut command, folder.path());
    let url = ignoring.url().await;
    ignoring.signal(rustix::process::Signal::HUP);
    let asked = run(holdfast(&[]).args(["healthcheck", "--url", &url]));
    assert_eq!(asked.code, Some(0), "{asked:?}");
    ignoring.signal(rustix::process::Signal::TERM);
    assert!(ignoring.ended().await.success(), "{}", ignoring.log());
    database.drop().await;
}

/// Waits until a process catches a signal.
async fn catches(process: &Process, signal: u32) {
    crate::support::eventually("the process catches the signal", async || {
        let status = fs_err::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
        is_in_mask(&status, "SigCgt:", signal).then_some(())
    })
    .await;
}

/// Returns whether a mask of signals in `/proc/…/status` contains a signal.
fn is_in_mask(status: &str, mask: &str, signal: u32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix(mask));
    let mask = u64::from_str_radix(mask.unwrap().trim(), 16).unwrap();
    mask & (1 << (signal - 1)) != 0
}
