//! Locks, names, deletions, and which backup a name means.

use super::Terminal;
use crate::support::app::App;
use crate::support::files::write;

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_locked_renamed_and_deleted() {
    let app = App::start().await;
    let terminal = Terminal::of(&app);
    write(&app.directory.join("a"), b"a");
    let uuid = app.backup().await;
    let locked = terminal.lines(&["lock", "SERVER", "latest"]);
    assert!(locked[0].ends_with(" is locked"), "{locked:?}");
    // Not toggled: it stays locked.
    assert_eq!(
        terminal.json(&["lock", "SERVER", "latest"])["is_locked"],
        true
    );
    let refused = terminal.failure(&["rm", "SERVER", &uuid]);
    assert_eq!(refused, "This backup is locked and cannot be deleted.");
    assert_eq!(
        terminal.json(&["unlock", "SERVER", &uuid])["is_locked"],
        false
    );
    let renamed = terminal.lines(&["rename", "SERVER", &uuid, "A better name"]);
    assert!(
        renamed[0].starts_with("backup `A better name` ("),
        "{renamed:?}"
    );
    let deleted = terminal.json(&["rm", "SERVER", "A better name"]);
    assert_eq!(
        (&deleted["uuid"], &deleted["deleted"]),
        (&uuid.into(), &true.into())
    );
    assert_eq!(terminal.json(&["ls", "SERVER"]), serde_json::json!([]));
    assert_eq!(terminal.lines(&["ls", "SERVER"]), ["(none)"]);
    for (arguments, refusal) in [
        (&["show", "SERVER", "latest"][..], "has no backup"),
        (&["cat", "SERVER", "latest", "a"], "has no completed backup"),
        (
            &["show", "SERVER", "A better name"],
            "has no backup `A better name`",
        ),
        (
            &["show", "Creative", "latest"],
            "there is no server `Creative`",
        ),
    ] {
        let failure = terminal.failure(arguments);
        assert!(failure.contains(refusal), "{arguments:?}: {failure}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ambiguous_name_is_refused_with_the_candidates() {
    let app = App::start().await;
    let terminal = Terminal::of(&app);
    write(&app.directory.join("a"), b"a");
    let (first, second) = (app.backup().await, app.backup().await);
    for uuid in [&first, &second] {
        terminal.json(&["rename", "SERVER", uuid, "Nightly"]);
    }
    let refused = terminal.failure(&["rm", "SERVER", "Nightly"]);
    assert!(
        refused.starts_with("`Nightly` is the name of 2 backups, use an ID: "),
        "{refused}"
    );
    for uuid in [&first, &second] {
        assert!(refused.contains(&uuid[..8]), "{refused}");
    }
    // An ID wins over a name, so that a name cannot take the place of an ID.
    terminal.json(&["rename", "SERVER", &second, &first[..8]]);
    assert_eq!(
        terminal.json(&["show", "SERVER", &first[..8]])["uuid"],
        first
    );

    // Both servers have the name `Survival`.
    let other = app.another_server("other").await;
    let refused = terminal.failure(&["ls", "Survival"]);
    assert!(
        refused.starts_with("`Survival` is the name of 2 servers, "),
        "{refused}"
    );
    assert!(refused.contains(&other.id.short()), "{refused}");
    assert!(refused.contains(&terminal.server[..8]), "{refused}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_have_all_pages() {
    let app = App::without_worker(&[]).await;
    let terminal = Terminal::of(&app);
    let owner = app.as_owner();
    for number in 0..101 {
        let created = owner
            .create(serde_json::json!({ "name": number.to_string() }))
            .await;
        let uuid = created.uuid();
        cancel(&app, &uuid).await;
    }
    assert_eq!(
        terminal.json(&["ls", "SERVER"]).as_array().unwrap().len(),
        101
    );
    assert_eq!(terminal.lines(&["ls", "SERVER"]).len(), 102);
    // The oldest one is on the second page.
    assert_eq!(terminal.json(&["show", "SERVER", "0"])["name"], "0");
    app.stop().await;
}

async fn cancel(app: &App, uuid: &str) {
    let path = format!("/{uuid}/cancel");
    let owner = app.as_owner();
    let sent = crate::support::client::send(owner.request(reqwest::Method::POST, &path)).await;
    assert!(sent.status < 300, "{}", sent.status);
}
