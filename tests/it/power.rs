//! A server is stopped before it is restored. If it cannot be stopped, its files are not touched.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::docker::{Container, Docker};
use crate::support::files;

/// A service whose worker stops containers, with a server that was backed up and has changed since.
struct Scene {
    app: App,
    docker: Docker,
    /// The name of the server's container.
    name: String,
    backup: String,
    _folder: tempfile::TempDir,
}

async fn scene(settings: &[(&str, &str)]) -> Scene {
    let folder = files::scratch();
    let docker = Docker::start(folder.path());
    let mut app = App::without_worker(&[]).await;
    let socket = docker.socket.to_str().unwrap();
    let mut changed = vec![("power.driver", "docker"), ("power.docker_socket", socket)];
    changed.extend(settings);
    app.add_worker(&changed);
    files::make_server(&app.directory);
    let backup = app.backup().await;
    fs_err::write(app.directory.join("new.txt"), "made later\n").unwrap();
    Scene {
        name: app.server.id.to_string(),
        app,
        docker,
        backup,
        _folder: folder,
    }
}

impl Scene {
    async fn restore(&self, truncate: bool) -> Value {
        let owner = self.app.as_owner();
        let body = json!({ "truncate": truncate });
        assert_eq!(owner.restore(&self.backup, body).await.status, 202);
        self.app.restored(&self.backup).await
    }

    /// Returns whether the server's files are those from after the backup.
    fn is_untouched(&self) -> bool {
        self.app.directory.join("new.txt").exists()
    }

    fn stops(&self) -> usize {
        let asked = self.docker.requests();
        asked.iter().filter(|one| one.contains("/stop")).count()
    }
}

const RUNS: Container = Container {
    is_running: true,
    is_stubborn: false,
    comes_back_after: None,
    labels: Vec::new(),
    has_no_input: false,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_stopped_before_its_server_is_restored_and_not_started_again() {
    let scene = scene(&[("power.stop_timeout_seconds", "7")]).await;
    scene.docker.put(&scene.name, RUNS);
    // A backup stops nothing.
    assert_eq!(scene.stops(), 0);
    let restore = scene.restore(true).await;
    assert_eq!(restore["status"], "completed", "{restore}");
    assert!(!scene.is_untouched());
    assert!(!scene.docker.is_running(&scene.name));
    let stop = format!("POST /containers/{}/stop?t=7", scene.name);
    assert!(scene.docker.requests().contains(&stop));
    // A container that does not run is left alone.
    assert_eq!(scene.restore(true).await["status"], "completed");
    assert_eq!(scene.stops(), 1);
    scene.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_container_does_not_run() {
    let scene = scene(&[]).await;
    assert_eq!(scene.restore(true).await["status"], "completed");
    assert_eq!(scene.stops(), 0);
    scene.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_found_by_its_label() {
    let scene = scene(&[("power.docker_label", "panel.server")]).await;
    let label = ("panel.server".to_owned(), scene.name.clone());
    let labels = vec![label];
    scene.docker.put("labelled", Container { labels, ..RUNS });
    // The name alone no longer identifies its container.
    scene.docker.put(&scene.name, RUNS);
    assert_eq!(scene.restore(false).await["status"], "completed");
    assert!(!scene.docker.is_running("labelled"));
    assert!(scene.docker.is_running(&scene.name));
    scene.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_stopped_is_not_touched() {
    let scene = scene(&[]).await;
    let is_stubborn = true;
    scene.docker.put(
        &scene.name,
        Container {
            is_stubborn,
            ..RUNS
        },
    );
    let restore = scene.restore(true).await;
    assert_eq!(restore["status"], "failed");
    let text =
        "The server could not be stopped, so nothing was changed. Stop it, and restore it again.";
    assert_eq!(restore["error"], text);
    assert!(scene.is_untouched());
    let Scene { app, docker, .. } = scene;
    // A server whose state is unknown is not restored either.
    fs_err::remove_file(&docker.socket).unwrap();
    drop(docker);
    let uuid = app.backup().await;
    assert_eq!(app.as_owner().restore(&uuid, json!({})).await.status, 202);
    let restore = app.restored(&uuid).await;
    assert_eq!(restore["status"], "failed");
    let error = restore["error"].as_str().unwrap();
    assert!(
        error.starts_with("The service could not find out whether the server runs"),
        "{error}"
    );
    assert!(app.directory.join("new.txt").exists());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_started_during_its_restore_is_not_touched() {
    let scene = scene(&[]).await;
    // After the stop it is checked once. Before the exchange it runs again.
    let comes_back_after = Some(1);
    scene.docker.put(
        &scene.name,
        Container {
            comes_back_after,
            ..RUNS
        },
    );
    let restore = scene.restore(false).await;
    assert_eq!(restore["status"], "failed");
    let text = "The server was started while it was being restored. Nothing was changed. Stop it, \
        and restore it again.";
    assert!(
        restore["error"].as_str().unwrap().starts_with(text),
        "{restore}"
    );
    assert!(scene.is_untouched());
    scene.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_stop_a_server_and_say_whether_it_runs() {
    let mut app = App::without_worker(&[]).await;
    let folder = app.beside("power");
    fs_err::create_dir(&folder).unwrap();
    let script = |name: &str, text: &str| -> PathBuf {
        let path = folder.join(name);
        fs_err::write(
            &path,
            format!("#!/bin/sh\ncd {}\n{text}\n", folder.display()),
        )
        .unwrap();
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let running = script("running", "test -e \"$1\"");
    let stop = script(
        "stop",
        "test -e refuse && { echo the panel is away >&2; exit 4; }\nrm \"$HOLDFAST_SERVER\"",
    );
    let running = format!("{},{{server}}", running.display());
    app.add_worker(&[
        ("power.driver", "command"),
        ("power.running_command", &running),
        ("power.stop_command", stop.to_str().unwrap()),
    ]);
    files::make_server(&app.directory);
    let uuid = app.backup().await;
    let new = app.directory.join("new.txt");
    fs_err::write(&new, "made later\n").unwrap();
    let runs = folder.join(app.server.id.to_string());
    fs_err::write(&runs, "").unwrap();
    fs_err::write(folder.join("refuse"), "").unwrap();
    assert_eq!(app.as_owner().restore(&uuid, json!({})).await.status, 202);
    assert_eq!(app.restored(&uuid).await["status"], "failed");
    assert!(new.exists() && runs.exists());
    let told = "SELECT count(*) FROM jobs WHERE attempt = 1 \
        AND errors -> -1 ->> 'detail' LIKE '%the panel is away%'";
    assert_eq!(
        app.sql().number(told).await,
        1,
        "an operator reads what the command said"
    );
    fs_err::remove_file(folder.join("refuse")).unwrap();
    assert_eq!(app.as_owner().restore(&uuid, json!({})).await.status, 202);
    assert_eq!(app.restored(&uuid).await["status"], "completed");
    assert!(!new.exists() && !runs.exists());
    app.stop().await;
}
