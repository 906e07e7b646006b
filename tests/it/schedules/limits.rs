//! Tasks and schedules that a server cannot have.

use serde_json::json;

use super::refusals::Scene;
use super::support::{add, backup_task, delete, nightly, post};

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_the_service_cannot_run_is_refused_with_the_setting_to_change() {
    let none = "The service is not set up for this task: power.driver is \"none\"; set it to \
                \"docker\" or \"command\".";
    let scene = Scene::new(&[]).await;
    for (action, payload) in [
        ("command", "save-off"),
        ("power", "start"),
        ("power", "kill"),
    ] {
        let body = backup_task(&json!({ "action": action, "payload": payload }));
        scene.refuses(&body, (400, "DisplayException", none)).await;
    }
    scene.end().await;

    let scene = Scene::new(&[
        ("power.driver", "command"),
        ("power.stop_command", "[\"/bin/true\"]"),
        ("power.running_command", "[\"/bin/true\"]"),
    ])
    .await;
    for (action, payload, setting) in [
        ("command", "save-off", "power.console_command"),
        ("power", "start", "power.start_command"),
        ("power", "restart", "power.start_command"),
        ("power", "kill", "power.kill_command"),
    ] {
        let text = format!("The service is not set up for this task: {setting} is not set.");
        let body = backup_task(&json!({ "action": action, "payload": payload }));
        scene.refuses(&body, (400, "DisplayException", &text)).await;
    }
    let stop = json!({ "action": "power", "payload": "stop", "time_offset": 0 });
    let path = format!("{}/tasks", scene.schedule);
    assert_eq!(post(&scene.owner, &path, &stop).await.status, 200);
    scene.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_backups_gets_no_backup_task() {
    let mut scene = Scene::new(&[("power.driver", "docker")]).await;
    scene.app.server.limits.backups = Some(0);
    scene.app.save_server().await;
    let text = "A backup task cannot be created when the server's backup limit is set to 0.";
    let expected = (403, "HttpForbiddenException", text);
    scene.refuses(&backup_task(&json!({})), expected).await;
    // The eleventh task is refused first, as panels do.
    let command = json!({ "action": "command", "payload": "say hi" });
    for _ in 0..9 {
        add(&scene.owner, &scene.schedule, &command).await;
    }
    let path = format!("{}/tasks", scene.schedule);
    let eleventh = post(&scene.owner, &path, &backup_task(&json!({}))).await;
    assert_eq!(eleventh.refusal().1, "ServiceLimitExceededException");
    scene.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schedules_of_a_server_stay_small_enough_to_list() {
    let scene = Scene::new(&[]).await;
    let Scene {
        app,
        owner,
        schedule,
        task,
        ..
    } = &scene;
    let server = app.server.id;
    let many = format!(
        "INSERT INTO schedules (server_id, name, minute, hour, day_of_month, month, day_of_week)
         SELECT '{server}', 'S', '0', '4', '*', '*', '*' FROM generate_series(2, 250)"
    );
    app.sql().query(&many).await;
    let refused = post(owner, "", &nightly(&json!({}))).await.refusal();
    let text = "Servers may not have more than 250 schedules.".to_owned();
    assert_eq!(
        refused,
        (400, "ServiceLimitExceededException".to_owned(), text)
    );

    // A megabyte of payload in all; what a task replaces does not count.
    let large = format!(
        "UPDATE schedule_tasks SET payload = repeat('x', {})",
        (1 << 20) - 10
    );
    app.sql().query(&large).await;
    let path = format!("{schedule}/tasks");
    let eleven = backup_task(&json!({ "payload": "x".repeat(11) }));
    let refused = post(owner, &path, &eleven).await.refusal();
    let text = "The payloads of all tasks of a server may not have more than 1048576 bytes.";
    let expected = (
        400,
        "ServiceLimitExceededException".to_owned(),
        text.to_owned(),
    );
    assert_eq!(refused, expected);
    let ten = backup_task(&json!({ "payload": "x".repeat(10) }));
    assert_eq!(post(owner, &path, &ten).await.status, 200);
    assert_eq!(post(owner, task, &eleven).await.status, 200);
    assert_eq!(delete(owner, schedule).await.status, 204);
    assert_eq!(post(owner, "", &nightly(&json!({}))).await.status, 200);
    scene.app.stop().await;
}
