//! The commands that run until they are stopped, and `demo`.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;

use crate::support::app::App;
use crate::support::process::{Process, holdfast, run};
use crate::support::{files, is_root, skipped};

#[tokio::test(flavor = "multi_thread")]
async fn up_prints_its_address_and_other_commands_work_beside_it() {
    let folder = files::scratch();
    let data = folder.path().join("data");
    let (mut up, url) = Process::up(&data, &[]).await;
    assert_eq!(up.stdout(), format!("Holdfast answers at {url}\n"));
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");

    let mut health = holdfast(&[]);
    let healthy = run(health.args(["healthcheck", "--url", &url]));
    assert_eq!((healthy.code, healthy.stdout.as_str()), (Some(0), "ok\n"));
    let listen = url.strip_prefix("http://").unwrap();
    let by_setting = run(holdfast(&[("http.listen", listen)]).arg("healthcheck"));
    assert_eq!(by_setting.code, Some(0), "{by_setting:?}");

    let admin = |arguments: &[&str]| {
        let mut command = holdfast(&[]);
        command.args(arguments).arg("--data").arg(&data);
        run(&mut command)
    };
    let made = admin(&[
        "admin",
        "--json",
        "user",
        "create",
        "--email",
        "a@example.com",
    ]);
    assert_eq!(made.json()["email"], "a@example.com");
    assert_eq!(admin(&["migrate"]).code, Some(0));

    let second = admin(&["up", "--listen", "127.0.0.1:0"]);
    let refused = second.failure();
    let holder = format!("process {} already uses the data folder", up.id());
    assert!(refused.contains(&holder), "{refused}");

    up.signal(Signal::TERM);
    assert!(up.ended().await.success(), "{}", up.log());
    assert_eq!(up.stdout(), format!("Holdfast answers at {url}\n"));
    let gone = run(holdfast(&[]).args(["healthcheck", "--url", &url]));
    assert!(gone.failure().contains("does not answer"), "{gone:?}");
    let gone = admin(&["admin", "user", "list"]);
    assert!(gone.failure().starts_with("no database: start"), "{gone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_and_worker_together_form_a_service() {
    let app = App::without_worker(&[]).await;
    let url = app.sql().url();
    let folder = files::scratch();
    let start = |arguments: &[&str]| {
        let mut command = holdfast(&[("database.url", &url)]);
        command.args(arguments).arg("--data");
        command.arg(folder.path().join("data"));
        Process::start(&mut command, folder.path())
    };
    let mut serve = start(&["serve", "--listen", "127.0.0.1:0"]);
    let base_url = serve.url().await;
    let mut worker = start(&["worker"]);
    let owner = app.as_owner().at(&base_url);
    let uuid = owner.create(json!({})).await.uuid();
    assert_eq!(app.ended(&uuid).await["status"], "completed");
    let link = owner.download(&uuid).await.link();
    assert!(link.starts_with(&base_url), "{link}");
    for process in [&mut serve, &mut worker] {
        process.signal(Signal::TERM);
        assert!(process.ended().await.success(), "{}", process.log());
    }
    assert_eq!(worker.stdout(), "", "a worker has nothing to say");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_the_main_job_and_leaves_nothing_behind() {
    let folder = files::scratch();
    // PostgreSQL may run as another user, who must be able to enter the folder.
    files::set_mode(folder.path(), 0o711);
    let mut command = holdfast(&[]);
    command.arg("demo").env("TMPDIR", folder.path());
    let demo = run(command.current_dir(folder.path()));
    assert_eq!(demo.code, Some(0), "{demo:?}");
    for part in ["POST", "/restore", "/download", "200", "202", "SHA-256"] {
        assert!(demo.stdout.contains(part), "{part}: {}", demo.stdout);
    }
    assert_eq!(files::files_below(folder.path()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_port_is_reported_before_anything_is_created() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = files::scratch();
    let data = folder.path().join("data");
    for arguments in [["up", "--listen"], ["serve", "--listen"]] {
        let mut command = holdfast(&[]);
        command.args(arguments).arg(&address).arg("--data");
        let ended = run(command.arg(&data));
        let failure = ended.failure();
        assert!(
            failure.contains(&address) && failure.contains("--listen"),
            "{failure}"
        );
    }
    assert!(!data.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_that_cannot_be_written_to_is_reported() {
    let folder = files::scratch();
    files::set_mode(folder.path(), 0o755);
    let closed = folder.path().join("closed");
    fs_err::create_dir(&closed).unwrap();
    files::set_mode(&closed, 0o555);
    for (data, text) in [
        (closed.clone(), "can't be written to"),
        (closed.join("data"), "can't be created"),
    ] {
        let binary = env!("CARGO_BIN_EXE_holdfast");
        let mut command = as_ordinary_user(Path::new(binary));
        let Some(command) = &mut command else { return };
        command.args(["up", "--listen", "127.0.0.1:0", "--data"]);
        let ended = run(command.arg(&data));
        let failure = ended.failure();
        let path = data.to_str().unwrap();
        assert!(
            failure.contains(text) && failure.contains(path),
            "{failure}"
        );
    }
    assert_eq!(files::files_below(&closed), [""; 0]);
    // A file cannot be used as a folder, by any user.
    let file = folder.path().join("file");
    fs_err::write(&file, "x").unwrap();
    let mut command = holdfast(&[]);
    command.args(["up", "--listen", "127.0.0.1:0", "--data"]);
    let ended = run(command.arg(&file));
    assert!(ended.failure().contains("can't be created"), "{ended:?}");
}

/// A command that runs as a user without root's rights; none, with a message, if that is not
/// possible.
fn as_ordinary_user(program: &Path) -> Option<Command> {
    if !is_root() {
        return Some(Command::new(program));
    }
    let as_anonymous = |program: &Path| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
        command.arg(program).current_dir("/");
        command
    };
    let passes = as_anonymous(Path::new("test"))
        .arg("-x")
        .arg(program)
        .status();
    if passes.is_ok_and(|status| status.success()) {
        return Some(as_anonymous(program));
    }
    skipped("root is not bound by modes, and setpriv is missing or the binary is closed to others");
    None
}
