//! Commands of a schedule are written to the standard input of the server's container.

use super::scene::schedule_of;
use crate::support::app::App;
use crate::support::docker::{Container, Docker};
use crate::support::{eventually, files};

/// Runs a schedule for a server in this container. Returns the state and the error of the run, and
/// the lines that the container read.
async fn run(container: Container) -> (String, Option<String>, Vec<String>) {
    let folder = files::scratch();
    let docker = Docker::start(folder.path());
    let mut app = App::without_worker(&[]).await;
    let socket = docker.socket.to_str().unwrap();
    app.add_worker(&[("power.driver", "docker"), ("power.docker_socket", socket)]);
    files::make_server(&app.directory);
    docker.put(&app.server.id.to_string(), container);
    let tasks = ["command save-off", "backup", "command save-on"];
    schedule_of(&app, None, "", &tasks).await;
    let ended = "SELECT state, error FROM schedule_runs WHERE finished_at IS NOT NULL";
    let run = eventually("the run has ended", async || {
        app.sql().query(ended).await.into_iter().next()
    })
    .await;
    app.stop().await;
    (run[0].clone().unwrap(), run[1].clone(), docker.input())
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_reach_the_input_of_a_container() {
    let container = Container {
        is_running: true,
        ..Container::default()
    };
    let (state, error, lines) = run(container).await;
    assert_eq!((state.as_str(), error), ("completed", None));
    assert_eq!(lines, ["save-off", "save-on"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_without_an_open_input_fails_the_run_with_what_to_do() {
    let container = Container {
        is_running: true,
        has_no_input: true,
        ..Container::default()
    };
    let (state, error, lines) = run(container).await;
    assert_eq!(state, "failed");
    let error = error.unwrap();
    assert!(error.contains("`stdin_open: true`"), "{error}");
    assert!(lines.is_empty(), "{lines:?}");
}
