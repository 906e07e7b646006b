//! Permissions: every route of the application API with every kind of caller, as one table.

use std::fmt::Write as _;

use serde_json::json;

use holdfast_domain::Profile;
use holdfast_domain::key::KeyKind;

use super::{Hosting, Panel, user};

const ROUTES: [(&str, &str); 28] = [
    ("GET", "/users"),
    ("POST", "/users"),
    ("GET", "/users/{user}"),
    ("PATCH", "/users/{user}"),
    ("DELETE", "/users/{user}"),
    ("GET", "/keys"),
    ("POST", "/keys"),
    ("DELETE", "/keys/{key}"),
    ("GET", "/servers"),
    ("POST", "/servers"),
    ("GET", "/servers/{server}"),
    ("PATCH", "/servers/{server}"),
    ("DELETE", "/servers/{server}"),
    ("PUT", "/servers/{server}/state"),
    ("POST", "/servers/{server}/state"),
    ("GET", "/servers/{server}/subusers"),
    ("PUT", "/servers/{server}/subusers/{user}"),
    ("DELETE", "/servers/{server}/subusers/{user}"),
    ("GET", "/activity"),
    ("GET", "/nodes"),
    ("GET", "/jobs"),
    ("GET", "/jobs/{job}"),
    ("POST", "/jobs/{job}/cancel"),
    ("GET", "/storage"),
    ("GET", "/storage/servers"),
    ("PUT", "/users"),
    ("DELETE", "/servers"),
    ("GET", "/nothing"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_route_answers_every_caller_as_in_the_table() {
    let hosting = Hosting::without_worker().await;
    let app = &hosting.app;
    let owner = user(app, "owner@example.com").await;
    let not_admin = app
        .key(owner.id, KeyKind::Application, Profile::Documented)
        .await;
    let not_admin = app.as_owner().with_token(&not_admin);
    let callers = [
        ("nobody", Panel::with(app, app.as_anonymous())),
        ("client key of an admin", Panel::with(app, app.as_admin())),
        ("application key of another", Panel::with(app, not_admin)),
        ("application key of an admin", Panel::of(app).await),
    ];
    let server = app.server.id.to_string();
    let mut table = format!("{:36}", "");
    for (name, _) in &callers {
        write!(table, "{name:>29}").unwrap();
    }
    for (method, path) in ROUTES {
        write!(table, "\n{:36}", format!("{method} {path}")).unwrap();
        let path = path
            .replace("{server}", &server)
            .replace("{user}", "owner@example.com")
            .replace("{job}", "1")
            .replace("{key}", "ptlc_aaaaaaaaaaa");
        for (_, caller) in &callers {
            // No field is valid, so that nothing changes: a permitted caller gets 422, or 404 for
            // an unknown key or job, or 409 for the deletion of an owner.
            let body = json!({ "email": 1, "user": 1, "name": 1, "state": 1, "permissions": 1 });
            let answer = caller.ask(method, &path, Some(&body)).await;
            write!(table, "{:>29}", answer.status).unwrap();
        }
    }
    insta::assert_snapshot!("table", table);
    hosting.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_kind_of_key_is_refused_with_the_right_one() {
    let hosting = Hosting::without_worker().await;
    let app = &hosting.app;
    let text = "You are attempting to use a client API key on an endpoint that requires an \
        application API key.";
    assert_eq!(
        Panel::with(app, app.as_admin())
            .get("/users")
            .await
            .refusal(),
        (403, "AccessDeniedHttpException".into(), text.into())
    );
    let owner = user(app, "owner@example.com").await;
    let not_admin = app
        .key(owner.id, KeyKind::Application, Profile::Documented)
        .await;
    let not_admin = Panel::with(app, app.as_owner().with_token(&not_admin));
    let text = "This action requires additional permissions.";
    assert_eq!(
        not_admin.get("/users").await.refusal(),
        (403, "InsufficientPermissionsException".into(), text.into())
    );
    // A user who becomes an administrator is permitted from the next request on, and the other way
    // round.
    let panel = &hosting.panel;
    let path = "/users/owner@example.com";
    assert_eq!(
        panel.patch(path, json!({ "admin": true })).await.status,
        200
    );
    assert_eq!(not_admin.get("/users").await.status, 200);
    assert_eq!(
        panel.patch(path, json!({ "admin": false })).await.status,
        200
    );
    assert_eq!(not_admin.get("/users").await.status, 403);
    hosting.app.stop().await;
}
