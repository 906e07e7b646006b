//! The endpoints that clients of a panel use before those for backups.

use reqwest::Method;
use serde_json::{Value, json};

use holdfast_domain::key::KeyKind;
use holdfast_domain::{Permission, Profile, ServerState};

use crate::support::app::App;
use crate::support::client::{Answer, Client, send};
use crate::support::fixtures;

async fn get(app: &App, client: &Client, path: &str) -> Answer {
    send(client.plain(Method::GET, &app.base_url_of(path))).await
}

fn names(list: &Answer) -> Vec<Value> {
    let data = list.json()["data"].as_array().unwrap().clone();
    let attributes = data.into_iter().map(|one| one["attributes"].clone());
    attributes
        .map(|server| json!([server["identifier"], server["server_owner"]]))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_finds_only_the_servers_that_it_has_access_to() {
    let app = App::without_worker(&[("limits.backups_per_server", "7")]).await;
    let other = app.another_server("other").await;
    let subuser = app.as_subuser(&[Permission::Read]).await;
    let first = app.server.id.short();
    for path in ["/api/client", "/api/client/"] {
        let list = get(&app, &app.as_owner(), path).await;
        assert_eq!(list.status, 200, "{path}");
        assert_eq!(
            names(&list),
            [json!([first, true]), json!([other.id.short(), true])]
        );
    }
    assert_eq!(
        names(&get(&app, &subuser, "/api/client").await),
        [json!([first, false])]
    );
    assert_eq!(
        names(&get(&app, &app.as_stranger(), "/api/client").await),
        [] as [Value; 0]
    );
    assert_eq!(
        names(&get(&app, &app.as_admin(), "/api/client").await),
        [] as [Value; 0]
    );
    let page = get(&app, &app.as_owner(), "/api/client?per_page=1&page=2").await;
    assert_eq!(names(&page), [json!([other.id.short(), true])]);
    assert_eq!(page.json()["meta"]["pagination"]["total"], 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_shown_with_the_callers_permissions() {
    let app = App::without_worker(&[("limits.backups_per_server", "7")]).await;
    let subuser = app
        .as_subuser(&[Permission::Read, Permission::Restore])
        .await;
    let path = format!("/api/client/servers/{}", app.server.id.short());
    let shown = get(&app, &app.as_owner(), &path).await.json();
    assert_eq!(shown["object"], "server");
    assert_eq!(shown["attributes"]["uuid"], app.server.id.to_string());
    assert_eq!(shown["attributes"]["status"], Value::Null);
    assert_eq!(shown["attributes"]["feature_limits"]["backups"], 7);
    assert_eq!(shown["meta"]["is_server_owner"], true);
    let all: Vec<_> = Permission::ALL.iter().map(|p| p.as_str()).collect();
    assert_eq!(shown["meta"]["user_permissions"], json!(all));

    let shown = get(&app, &subuser, &path).await.json();
    let meta = json!({
        "is_server_owner": false,
        "user_permissions": ["backup.read", "backup.restore"],
    });
    assert_eq!(shown["meta"], meta);
    let scheduler = app.as_subuser(&[Permission::UpdateSchedules]).await;
    let shown = get(&app, &scheduler, &path).await.json();
    let permissions = &shown["meta"]["user_permissions"];
    assert_eq!(*permissions, json!(["schedule.update"]));
    let admin = get(&app, &app.as_admin(), &path).await.json();
    assert_eq!(admin["meta"]["is_server_owner"], false);

    let mut server = app.server.clone();
    server.state = ServerState::Restoring;
    server.limits.backups = Some(0);
    fixtures::server(app.database(), &server).await.unwrap();
    let shown = get(&app, &app.as_owner(), &path).await.json();
    assert_eq!(shown["attributes"]["status"], "restoring_backup");
    assert_eq!(shown["attributes"]["feature_limits"]["backups"], 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_without_access_or_without_a_key_are_refused() {
    let app = App::without_worker(&[]).await;
    let key = app
        .key(app.owner_id(), KeyKind::Application, Profile::Documented)
        .await;
    let operator = app.as_owner().with_token(&key);
    let server = format!("/api/client/servers/{}", app.server.id);
    for (path, stranger) in [
        ("/api/client", 200),
        ("/api/client/account", 200),
        (&server, 404),
    ] {
        assert_eq!(get(&app, &app.as_stranger(), path).await.status, stranger);
        assert_eq!(
            get(&app, &app.as_anonymous(), path).await.status,
            401,
            "{path}"
        );
        assert_eq!(get(&app, &operator, path).await.status, 403, "{path}");
        let put = app.as_owner().plain(Method::PUT, &app.base_url_of(path));
        assert_eq!(send(put).await.status, 405, "{path}");
    }
    let account = get(&app, &app.as_admin(), "/api/client/account")
        .await
        .json();
    assert_eq!(account["object"], "user");
    assert_eq!(account["attributes"]["admin"], true);
    assert_eq!(
        account["attributes"]["email"],
        account["attributes"]["username"]
    );
    app.stop().await;
}
