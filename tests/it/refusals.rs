//! What the reference document says each endpoint refuses, word for word, as one table.

use std::fmt::Write as _;

use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use holdfast_domain::{NodeName, Permission, ServerState};

use crate::support::app::App;
use crate::support::client::{Answer, Client, send};

/// The endpoints of the reference document, with the permission that each needs.
const ENDPOINTS: [(&str, &str, &str, Permission); 8] = [
    ("list", "GET", "", Permission::Read),
    ("details", "GET", "/{backup}", Permission::Read),
    ("create", "POST", "", Permission::Create),
    (
        "download",
        "GET",
        "/{backup}/download",
        Permission::Download,
    ),
    ("delete", "DELETE", "/{backup}", Permission::Delete),
    ("restore", "POST", "/{backup}/restore", Permission::Restore),
    ("lock", "POST", "/{backup}/lock", Permission::Delete),
    ("unlock", "POST", "/{backup}/unlock", Permission::Delete),
];

async fn ask(client: &Client, method: &str, path: &str, backup: &str) -> Answer {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    send(client.request(method, &path.replace("{backup}", backup))).await
}

/// Writes a refusal as a line of the table.
fn tell(table: &mut String, endpoint: &str, when: &str, answer: &Answer) {
    let (status, code, text) = answer.refusal();
    writeln!(table, "{endpoint:9} {when:34} {status} {code}: {text}").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_of_the_reference_has_its_status_code_and_text() {
    let mut app = App::start_with(&[("limits.backups_per_server", "2")]).await;
    let owner = app.as_owner();
    let failed = app.failed_backup().await;
    let completed = app.backup().await;
    let locked = app.backup().await;
    owner.lock(&locked, json!({})).await;
    let mut table = String::new();

    tell(
        &mut table,
        "create",
        "at the limit",
        &owner.create(json!({})).await,
    );
    tell(
        &mut table,
        "download",
        "failed",
        &owner.download(&failed).await,
    );
    tell(
        &mut table,
        "restore",
        "failed",
        &owner.restore(&failed, json!({})).await,
    );
    tell(
        &mut table,
        "lock",
        "failed",
        &owner.lock(&failed, json!({})).await,
    );
    tell(&mut table, "unlock", "failed", &owner.unlock(&failed).await);
    tell(&mut table, "delete", "locked", &owner.delete(&locked).await);

    for (state, when) in [
        (ServerState::Installing, "server installing"),
        (ServerState::Suspended, "server suspended"),
        (ServerState::Restoring, "server restoring"),
    ] {
        app.server.state = state;
        app.save_server().await;
        tell(&mut table, "create", when, &owner.create(json!({})).await);
        let restore = owner.restore(&completed, json!({})).await;
        tell(&mut table, "restore", when, &restore);
    }

    // From here on no worker comes.
    app.server.state = ServerState::Normal;
    app.server.node = NodeName::parse("elsewhere").unwrap();
    app.server.limits.backups = Some(9);
    app.save_server().await;
    assert_eq!(owner.restore(&completed, json!({})).await.status, 202);
    let when = "while it is restored";
    tell(&mut table, "create", when, &owner.create(json!({})).await);
    tell(
        &mut table,
        "restore",
        when,
        &owner.restore(&locked, json!({})).await,
    );
    tell(&mut table, "delete", when, &owner.delete(&completed).await);
    app.sql()
        .query("DELETE FROM jobs WHERE kind = 'restore_backup'")
        .await;

    let creating = owner.create(json!({})).await.uuid();
    let when = "while another backup is created";
    tell(&mut table, "create", when, &owner.create(json!({})).await);
    tell(
        &mut table,
        "restore",
        when,
        &owner.restore(&completed, json!({})).await,
    );
    let when = "while it is created";
    tell(
        &mut table,
        "download",
        when,
        &owner.download(&creating).await,
    );
    tell(
        &mut table,
        "restore",
        when,
        &owner.restore(&creating, json!({})).await,
    );
    tell(&mut table, "delete", when, &owner.delete(&creating).await);
    tell(
        &mut table,
        "lock",
        when,
        &owner.lock(&creating, json!({})).await,
    );
    tell(&mut table, "unlock", when, &owner.unlock(&creating).await);
    insta::assert_snapshot!("refusals", table);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_says_the_same_without_a_key_without_permission_and_of_what_is_not_there() {
    let app = App::start().await;
    let uuid = app.backup().await;
    let expected = |status, code: &str, text: &str| (status, code.to_owned(), text.to_owned());
    let unauthorized = expected(
        401,
        "InvalidCredentialsException",
        "The credentials provided were invalid.",
    );
    let forbidden = expected(
        403,
        "InsufficientPermissionsException",
        "This action requires additional permissions.",
    );
    let not_found = expected(
        404,
        "NotFoundHttpException",
        "The requested resource could not be found.",
    );
    for (endpoint, method, path, needed) in ENDPOINTS {
        let answer = ask(&app.as_nobody(), method, path, &uuid).await;
        assert_eq!(answer.refusal(), unauthorized, "{endpoint}");
        let others: Vec<Permission> = Permission::ALL
            .into_iter()
            .filter(|permission| *permission != needed)
            .collect();
        let answer = ask(&app.as_subuser(&others).await, method, path, &uuid).await;
        assert_eq!(answer.refusal(), forbidden, "{endpoint}");
        let answer = ask(&app.as_stranger(), method, path, &uuid).await;
        assert_eq!(answer.refusal(), not_found, "{endpoint}");
        if path.contains("{backup}") {
            let unknown = Uuid::new_v4().to_string();
            let answer = ask(&app.as_owner(), method, path, &unknown).await;
            assert_eq!(answer.refusal(), not_found, "{endpoint}");
        }
    }
    let shown = app.as_owner().show(&uuid).await.attributes();
    assert_eq!(shown["is_locked"], false, "nothing was done");
    assert_eq!(app.sql().number("SELECT count(*) FROM jobs").await, 1);
    app.stop().await;
}
