//! Servers are stopped, started and killed through Wings, which then knows why they stop.

use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use holdfast_cli::settings::Settings;
use holdfast_domain::ServerId;
use holdfast_domain::error_chain::chain;
use holdfast_worker::power::Power;

use super::Beside;
use crate::stand_ins::faults::Fault;
use crate::stand_ins::wings::{PowerState, WingsStandIn};
use crate::stand_ins::{Flavour, NodeKey};
use crate::support::app::variable;
use crate::support::{eventually, files};

impl Beside {
    /// Backs up a server that runs, changes its file, and requests the restore.
    async fn request_restore(&self) -> (Uuid, Uuid) {
        let server = self.add_server();
        let backup = self.create(server).await;
        self.reported(backup).await;
        let file = self.wings.directory(server).join("world.dat");
        fs_err::write(file, "played on").unwrap();
        self.wings.set_power(server, PowerState::Running);
        (server, backup)
    }

    async fn restored(&self, backup: Uuid) -> bool {
        self.panel.restore_backup(backup, true).await.unwrap();
        eventually("the restore was reported", async || {
            let callbacks = self.panel.callbacks();
            let ended = callbacks
                .iter()
                .find(|one| one.is_restore && one.backup == backup);
            ended.map(|one| one.body["successful"] == true)
        })
        .await
    }

    fn world(&self, server: Uuid) -> String {
        fs_err::read_to_string(self.wings.directory(server).join("world.dat")).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_stopped_through_wings_before_its_restore_and_not_started_again() {
    let beside = Beside::start(&[]).await;
    let (server, backup) = beside.request_restore().await;
    assert!(beside.restored(backup).await);
    assert_eq!(beside.world(server), "a world");
    let state = beside.wings.server(server);
    assert_eq!(state.state, PowerState::Offline);
    assert_eq!(
        (state.actions.as_slice(), state.crashes),
        (&["stop".to_owned()][..], 0)
    );
    let calls = beside.wings.calls();
    let stop = calls.iter().find(|call| call.method == "POST").unwrap();
    assert_eq!(stop.body, json!({"action": "stop", "wait_seconds": 60}));
    beside.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ignores_the_stop_is_killed_after_the_grace() {
    let beside = Beside::start(&[("power.stop_timeout_seconds", "1")]).await;
    let (server, backup) = beside.request_restore().await;
    beside
        .wings
        .change_server(server, |server| server.ignores_stop = true);
    assert!(beside.restored(backup).await);
    assert_eq!(beside.world(server), "a world");
    assert_eq!(beside.wings.server(server).actions, ["stop", "kill"]);
    beside.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_restored_if_wings_does_not_say_whether_the_server_runs() {
    let beside = Beside::start(&[]).await;
    let (server, backup) = beside.request_restore().await;
    beside.wings.set_fault(Fault::HtmlNotFound);
    assert!(!beside.restored(backup).await);
    assert_eq!(beside.world(server), "played on");
    assert_eq!(beside.wings.server(server).state, PowerState::Running);
    beside.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_waits_for_a_wings_that_restarts() {
    let beside = Beside::start(&[]).await;
    let (server, backup) = beside.request_restore().await;
    beside.wings.set_fault(Fault::Down);
    beside.panel.restore_backup(backup, true).await.unwrap();
    beside
        .waits("EXISTS (SELECT 1 FROM jobs WHERE kind = 'restore_backup' AND state = 'scheduled')")
        .await;
    beside.wings.set_fault(Fault::None);
    eventually("the restore was reported", async || {
        (beside.answers(backup, true) == [204]).then_some(())
    })
    .await;
    assert_eq!(beside.world(server), "a world");
    beside.stop().await;
}

/// A Wings with one server, and the driver that the settings make for it.
struct Driver {
    wings: WingsStandIn,
    power: Power,
    server: ServerId,
    key: NodeKey,
    _folder: tempfile::TempDir,
}

impl Driver {
    fn start(change: impl FnOnce(String) -> String) -> Self {
        let folder = files::scratch();
        let key = NodeKey::random();
        let panel = "http://127.0.0.1:9";
        let wings = WingsStandIn::start(Flavour::Pterodactyl, &key, panel, folder.path());
        let file = folder.path().join("config.yml");
        fs_err::write(&file, change(wings.settings())).unwrap();
        let pairs = [variable(&("wings.config", file.to_str().unwrap()))];
        let settings = Settings::load(&[], pairs, &folder.path().join("data")).unwrap();
        let server = Uuid::new_v4();
        wings.add_server(server);
        Self {
            wings,
            power: settings.worker.power,
            server: ServerId(server),
            key,
            _folder: folder,
        }
    }

    async fn problem(&self) -> String {
        let error = self.power.is_running(self.server).await.unwrap_err();
        let text = chain(&error);
        assert!(!text.contains(&self.key.token), "{text}");
        text
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_problem_with_wings_has_its_sentence() {
    let driver = Driver::start(|settings| settings);
    for state in [
        PowerState::Starting,
        PowerState::Running,
        PowerState::Stopping,
    ] {
        driver.wings.set_power(driver.server.0, state);
        assert!(
            driver.power.is_running(driver.server).await.unwrap(),
            "{state:?}"
        );
    }
    driver.wings.set_power(driver.server.0, PowerState::Offline);
    assert!(!driver.power.is_running(driver.server).await.unwrap());

    let url = driver.wings.url();
    let elsewhere = "http://127.0.0.1:9/".to_owned();
    for (fault, expected) in [
        (Fault::Down, "it could not be reached"),
        (
            Fault::HtmlOk,
            "the answer with status 200 is not one of Wings",
        ),
        (
            Fault::HtmlNotFound,
            "the answer with status 404 is not one of Wings",
        ),
        (
            Fault::Redirect { to: elsewhere },
            "the answer with status 302 is not one of Wings",
        ),
        (Fault::Unauthorized, "it refused the token (401)"),
        (Fault::Forbidden, "it refused the token (403)"),
        (Fault::CutBody, "it could not be reached"),
    ] {
        driver.wings.set_fault(fault.clone());
        let problem = driver.problem().await;
        let start = format!("cannot use Wings at {url}: {expected}");
        assert!(problem.starts_with(&start), "{fault:?}: {problem}");
    }
    driver.wings.set_fault(Fault::None);
    let unknown = ServerId(Uuid::new_v4());
    let error = chain(&driver.power.is_running(unknown).await.unwrap_err());
    let expected = format!("it does not know server {unknown}: is the server on this node?");
    assert!(error.ends_with(&expected), "{error}");

    let wrong = Driver::start(|settings| settings.replace("token: ", "token: x"));
    let problem = wrong.problem().await;
    assert!(problem.contains("it refused the token (403)"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_start_servers_and_send_commands_through_wings() {
    let beside = Beside::start(&[]).await;
    // The server of an operator, which Wings runs, too.
    let server = beside.app.server.id;
    beside.wings.add_server(server.0);
    let run = async |args: &str| {
        let id = beside
            .sql(&format!(
                "INSERT INTO jobs (kind, server_id, backup_id, node, args, max_attempts)
                 VALUES ('run_task', '{server}', '00000000-0000-0000-0000-000000000000', 'local',
                         '{args}', 1) RETURNING id"
            ))
            .await;
        let query = format!("SELECT state FROM jobs WHERE id = '{id}'");
        eventually("the task has ended", async || {
            let state = beside.sql(&query).await;
            ["completed", "discarded"]
                .contains(&state.as_str())
                .then_some(state)
        })
        .await
    };
    let start = serde_json::to_string(&holdfast_domain::job::RunTaskArgs::Power(
        holdfast_domain::schedule::PowerAction::Start,
    ))
    .unwrap();
    let line = serde_json::to_string(&holdfast_domain::job::RunTaskArgs::Command(
        "save-all flush".to_owned(),
    ))
    .unwrap();
    // To a server that does not run, no command is sent.
    assert_eq!(run(&line).await, "completed");
    assert!(beside.wings.server(server.0).console.is_empty());
    assert_eq!(run(&start).await, "completed");
    assert_eq!(run(&line).await, "completed");
    let state = beside.wings.server(server.0);
    assert_eq!(state.console, ["save-all flush"]);
    assert_eq!(state.actions, ["start"]);
    // Wings refuses to start a server that is suspended.
    beside
        .wings
        .change_server(server.0, |server| server.suspended = true);
    beside.wings.set_power(server.0, PowerState::Offline);
    assert_eq!(run(&start).await, "discarded");
    let errors = beside
        .sql("SELECT errors FROM jobs WHERE state = 'discarded'")
        .await;
    let expected = "Cannot start or restart a server that is suspended.";
    assert!(errors.contains(expected), "{errors}");
    tokio::time::sleep(Duration::ZERO).await;
    beside.stop().await;
}
