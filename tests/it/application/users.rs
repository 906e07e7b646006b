//! `/api/application/users`.

use serde_json::json;

use super::{Hosting, broken, made};

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_created_changed_and_deleted() {
    let hosting = Hosting::without_worker().await;
    let panel = &hosting.panel;
    let answer = panel
        .post("/users", json!({ "email": " New@example.com " }))
        .await;
    let user = made(&answer);
    insta::assert_json_snapshot!("created", answer.redacted());
    let uuid = user["uuid"].as_str().unwrap();

    // By UUID, and by address in any spelling.
    for name in [uuid, "new@EXAMPLE.com"] {
        let found = panel.get(&format!("/users/{name}")).await.attributes();
        assert_eq!(found, user);
    }
    let path = format!("/users/{uuid}");
    let changed = panel
        .patch(&path, json!({ "admin": "1" }))
        .await
        .attributes();
    assert_eq!(
        (&changed["admin"], &changed["email"]),
        (&json!(true), &user["email"])
    );
    let changed = panel
        .patch(&path, json!({ "email": "other@example.com" }))
        .await;
    let changed = changed.attributes();
    assert_eq!(changed["email"], "other@example.com");
    assert_eq!(changed["admin"], true, "what is not named stays");
    assert_eq!(panel.patch(&path, json!({})).await.attributes(), changed);

    let answer = panel.delete(&path).await;
    assert_eq!((answer.status, answer.bytes.len()), (204, 0));
    for method in ["GET", "PATCH", "DELETE"] {
        let answer = panel.ask(method, &path, None).await;
        assert_eq!(answer.status, 404, "{method}");
    }
    assert_eq!(panel.get("/users/nobody@example.com").await.status, 404);
    assert_eq!(panel.get("/users/rubbish").await.status, 404);
    hosting.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn violations_in_a_user_are_reported_by_rule() {
    let hosting = Hosting::without_worker().await;
    let panel = &hosting.panel;
    for (body, field, rule) in [
        (json!({}), "email", "required"),
        (json!({ "email": null }), "email", "required"),
        (json!({ "email": "nobody" }), "email", "email"),
        (json!({ "email": 5 }), "email", "string"),
        (json!({ "email": "OWNER@example.com" }), "email", "unique"),
        (
            json!({ "email": "a@example.com", "admin": "yes" }),
            "admin",
            "boolean",
        ),
    ] {
        let answer = panel.post("/users", body.clone()).await;
        assert_eq!(
            broken(&answer),
            [(field.to_owned(), rule.to_owned())],
            "{body}"
        );
    }
    let answer = panel
        .patch(
            "/users/owner@example.com",
            json!({ "email": "admin@example.com" }),
        )
        .await;
    assert_eq!(broken(&answer), [("email".to_owned(), "unique".to_owned())]);
    hosting.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_owns_servers_cannot_be_deleted() {
    let hosting = Hosting::without_worker().await;
    let panel = &hosting.panel;
    let answer = panel.delete("/users/owner@example.com").await;
    let text = "This user owns servers and cannot be deleted. Delete the servers first, or give \
        them to another owner.";
    assert_eq!(
        answer.refusal(),
        (409, "ConflictHttpException".into(), text.into())
    );
    let server = format!("/servers/{}", hosting.app.server.id);
    let given = panel
        .patch(&server, json!({ "owner": "stranger@example.com" }))
        .await;
    assert_eq!(given.status, 200);
    assert_eq!(panel.delete("/users/owner@example.com").await.status, 204);
    // The user's keys were deleted with the user.
    assert_eq!(hosting.app.as_owner().list("").await.status, 401);
    hosting.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_have_pages_oldest_first() {
    let hosting = Hosting::without_worker().await;
    let panel = &hosting.panel;
    for i in 0..5 {
        made(
            &panel
                .post("/users", json!({ "email": format!("{i}@example.com") }))
                .await,
        );
    }
    let all = panel.list("/users").await;
    assert_eq!(all.len(), 8);
    assert_eq!(all[0]["email"], "owner@example.com");
    let answer = panel.get("/users?per_page=3&page=2").await.json();
    assert_eq!(answer["object"], "list");
    let pagination = &answer["meta"]["pagination"];
    for (name, expected) in [
        ("total", 8),
        ("count", 3),
        ("per_page", 3),
        ("current_page", 2),
        ("total_pages", 3),
    ] {
        assert_eq!(pagination[name], expected, "{name}");
    }
    assert_eq!(answer["data"][0]["attributes"], all[3]);
    assert!(panel.list("/users?page=9").await.is_empty());
    hosting.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_administrator_stays_one() {
    let hosting = Hosting::without_worker().await;
    let panel = &hosting.panel;
    let last = "/users/admin@example.com";
    let text = "This user is the only administrator, and cannot be demoted or deleted. Make \
        another user an administrator first.";
    for answer in [
        panel.patch(last, json!({ "admin": false })).await,
        panel.delete(last).await,
    ] {
        let expected = (409, "ConflictHttpException".into(), text.into());
        assert_eq!(answer.refusal(), expected);
    }
    assert_eq!(panel.get(last).await.attributes()["admin"], true);
    // Other changes are fine, and so is a change to what is true already.
    assert_eq!(
        panel.patch(last, json!({ "admin": true })).await.status,
        200
    );
    let other = "/users/stranger@example.com";
    assert_eq!(
        panel.patch(other, json!({ "admin": false })).await.status,
        200
    );

    // With a second one, both demote each other at the same time: one of them stays.
    assert_eq!(
        panel.patch(other, json!({ "admin": true })).await.status,
        200
    );
    let (one, two) = tokio::join!(
        panel.patch(last, json!({ "admin": false })),
        panel.patch(other, json!({ "admin": false })),
    );
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert!(
        statuses == [200, 403] || statuses == [200, 409],
        "{statuses:?}"
    );
    let admins = "SELECT count(*) FROM users WHERE is_admin";
    assert_eq!(hosting.app.sql().number(admins).await, 1);
    hosting.app.stop().await;
}
