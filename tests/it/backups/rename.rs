//! `PUT …/backups/{backup}/rename`.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::client::{Answer, send};

async fn rename(app: &App, uuid: &str, body: Value) -> Answer {
    let path = format!("/{uuid}/rename");
    send(app.as_owner().request(Method::PUT, &path).json(&body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_renamed_in_every_state() {
    let mut app = App::start().await;
    let completed = app.backup().await;
    let failed = app.failed_backup().await;
    app.server.node = holdfast_domain::NodeName::parse("elsewhere").unwrap();
    app.save_server().await;
    let creating = app.as_owner().create(json!({})).await.uuid();
    for uuid in [completed, failed, creating] {
        let mut expected = app.as_owner().show(&uuid).await.attributes();
        expected["name"] = "Another name".into();
        let renamed = rename(&app, &uuid, json!({ "name": " Another name " })).await;
        assert_eq!(renamed.attributes(), expected);
        assert_eq!(app.as_owner().show(&uuid).await.attributes(), expected);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_name_is_required_and_must_be_valid() {
    let app = App::without_worker(&[]).await;
    let uuid = app
        .as_owner()
        .create(json!({ "name": "Kept" }))
        .await
        .uuid();
    for (body, rule) in [
        (json!({}), "required"),
        (json!({ "name": "  " }), "required"),
        (json!({ "name": null }), "required"),
        (json!({ "name": 5 }), "string"),
        (json!({ "name": "x".repeat(192) }), "max"),
    ] {
        let answer = rename(&app, &uuid, body.clone()).await;
        assert_eq!(answer.refusal().0, 422, "{body}");
        let meta = &answer.json()["errors"][0]["meta"];
        assert_eq!(
            *meta,
            json!({ "source_field": "name", "rule": rule }),
            "{body}"
        );
    }
    assert_eq!(
        app.as_owner().show(&uuid).await.attributes()["name"],
        "Kept"
    );
    app.stop().await;
}
