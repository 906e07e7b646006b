//! `/api/application/keys`.

use serde_json::json;

use super::{Hosting, broken, made};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_shown_once_and_works_until_it_is_revoked() {
    let hosting = Hosting::without_worker().await;
    let (app, panel) = (&hosting.app, &hosting.panel);
    let body = json!({
        "user": "owner@example.com",
        "profile": "pterodactyl",
        "description": "the panel's",
        "allowed_ips": ["127.0.0.1", "10.0.0.0/8"],
        "expires_at": "2099-01-31T12:00:00+02:00",
    });
    let key = made(&panel.post("/keys", body).await);
    let token = key["token"].as_str().unwrap();
    assert_eq!(token.len(), 48);
    assert!(token.starts_with("ptlc_"));
    assert_eq!(key["identifier"], token[..16]);
    assert_eq!(key["expires_at"], "2099-01-31T10:00:00+00:00");
    assert_eq!(key["allowed_ips"], json!(["127.0.0.1/32", "10.0.0.0/8"]));
    let holder = app.as_owner().with_token(token);
    assert_eq!(holder.list("").await.status, 200);

    let shown = panel.list("/keys?user=owner@example.com").await;
    assert_eq!(shown.len(), 2);
    let mut expected = key.clone();
    expected.as_object_mut().unwrap().shift_remove("token");
    assert_eq!(shown[1], expected, "the token is never shown again");
    let whole = panel.get("/keys").await.json().to_string();
    assert!(!whole.contains(&token[16..]));

    let path = format!("/keys/{}", key["identifier"].as_str().unwrap());
    assert_eq!(panel.delete(&path).await.status, 204);
    assert_eq!(holder.list("").await.status, 401);
    assert_eq!(panel.delete(&path).await.status, 404);
    assert_eq!(panel.delete("/keys/rubbish").await.status, 404);
    hosting.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn violations_in_a_key_are_reported_by_rule() {
    let hosting = Hosting::without_worker().await;
    let panel = &hosting.panel;
    let body = json!({
        "user": "nobody@example.com",
        "kind": "root",
        "profile": "loud",
        "description": "x".repeat(501),
        "allowed_ips": ["10.0.0.0/8", "everywhere", 5],
        "expires_at": "2001-01-01T00:00:00Z",
    });
    let answer = panel.post("/keys", body).await;
    insta::assert_json_snapshot!("broken_rules", answer.redacted());
    let answer = panel
        .post("/keys", json!({ "expires_at": "tomorrow" }))
        .await;
    let expected = [("user", "required"), ("expires_at", "date")];
    let expected = expected.map(|(field, rule)| (field.to_owned(), rule.to_owned()));
    assert_eq!(broken(&answer), expected);
    let answer = panel.get("/keys?user=nobody@example.com").await;
    assert_eq!(broken(&answer), [("user".to_owned(), "exists".to_owned())]);
    hosting.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_of_no_client_are_refused_and_mapped_ones_hold_ipv4_clients() {
    let hosting = Hosting::without_worker().await;
    let (app, panel) = (&hosting.app, &hosting.panel);
    let create = async |network: &str| {
        let body = json!({ "user": "owner@example.com", "allowed_ips": [network] });
        panel.post("/keys", body).await
    };
    for nobody in ["0.0.0.0", "::", "224.0.0.0/4", "ff02::1", "255.255.255.255"] {
        let answer = create(nobody).await;
        let expected = [("allowed_ips.0".to_owned(), "ip".to_owned())];
        assert_eq!(broken(&answer), expected, "{nobody}");
    }
    // The client is 127.0.0.1.
    for (network, status) in [
        ("::ffff:127.0.0.1", 200),
        ("::ffff:127.0.0.0/104", 200),
        ("::/0", 200),
        ("0.0.0.0/0", 200),
        ("::ffff:10.0.0.0/104", 403),
        ("::1", 403),
    ] {
        let key = made(&create(network).await);
        let holder = app.as_owner().with_token(key["token"].as_str().unwrap());
        assert_eq!(holder.list("").await.status, status, "{network}");
    }
    hosting.app.stop().await;
}
