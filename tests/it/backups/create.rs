//! `POST …/backups`.

use serde_json::{Value, json};

use holdfast_domain::{Permission, ServerState};

use crate::support::app::App;
use crate::support::client::Answer;
use crate::support::files;

const FORM: &str = "application/x-www-form-urlencoded";
const BUSY: &str = "ConflictingServerStateException";

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_created_and_completes() {
    let app = App::start().await;
    files::make_server(&app.directory);
    let body = json!({
        "name": "Pre-maintenance backup",
        "ignored": "*.log\ncache/*\n",
        "is_locked": true,
    });
    let created = app.as_owner().create(body).await;
    insta::assert_json_snapshot!("created", created.redacted());
    app.ended(&created.uuid()).await;
    let completed = app.as_owner().show(&created.uuid()).await;
    insta::assert_json_snapshot!("completed", completed.redacted());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_without_its_directory_fails_with_a_reason() {
    let app = App::start().await;
    fs_err::remove_dir(&app.directory).unwrap();
    let body = json!({ "name": "Lost", "is_locked": true });
    let uuid = app.as_owner().create(body).await.uuid();
    app.ended(&uuid).await;
    let failed = app.as_owner().show(&uuid).await;
    insta::assert_json_snapshot!("failed", failed.redacted());
    assert_eq!(
        files::files_below(&app.disk),
        [".holdfast-disk"],
        "nothing is left of it"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_every_format_are_accepted() {
    let app = App::without_worker(&[]).await;
    let given =
        json!({ "name": "A name", "ignored_files": ["*.log", "cache/"], "is_locked": true });
    let none = json!({ "ignored_files": [], "is_locked": false });
    for (content_type, body, expected) in [
        (None, "", &none),
        (None, "  \n", &none),
        (None, "{}", &none),
        (Some("application/json"), "", &none),
        (
            Some("text/plain"),
            r#"{"name":"","ignored":null,"is_locked":"","unknown":{"a":1}}"#,
            &none,
        ),
        (
            None,
            r#"{"name":"A name","ignored":"*.log\r\n\r\ncache/\r\n","is_locked":1}"#,
            &given,
        ),
        (
            Some(FORM),
            r#"{"name":"  A name ","ignored":["*.log","","cache/"],"isLocked":"true"}"#,
            &given,
        ),
        (
            Some("application/json; charset=utf-8"),
            r#"{"name":"A name","ignored_files":["*.log\ncache/"],"is_locked":"1"}"#,
            &given,
        ),
        (
            Some(FORM),
            "name=A+name&ignored=*.log%0Acache%2F&is_locked=true",
            &given,
        ),
        (
            Some(FORM),
            "name=A+name&ignored[]=*.log&ignored[]=cache%2F&isLocked=1",
            &given,
        ),
    ] {
        let created = app
            .as_owner()
            .create_raw(content_type, body)
            .await
            .attributes();
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(created[field], *value, "{field} of {content_type:?} {body}");
        }
        if expected["name"].is_null() {
            let name = created["name"].as_str().unwrap();
            let time = chrono::NaiveDateTime::parse_from_str(name, "Backup at %Y-%m-%d %H:%M:%S");
            assert!(time.is_ok(), "{name}");
        }
        app.sql()
            .query("DELETE FROM jobs; DELETE FROM backups")
            .await;
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_with_violations_is_refused_with_all_of_them() {
    let app = App::without_worker(&[("limits.max_ignored_bytes", "20")]).await;
    let owner = app.as_owner();
    let long = "x".repeat(192);
    let broken = json!({ "name": long, "ignored": ["ok", 1], "is_locked": "maybe" });
    insta::assert_json_snapshot!("broken_rules", owner.create(broken).await.redacted());
    for (body, field, rule) in [
        (json!({ "name": 5 }), "name", "string"),
        (json!({ "name": "a\u{0}b" }), "name", "string"),
        // Half of a surrogate pair, which no string can hold.
        (json!({ "name": "HALF" }), "name", "string"),
        (json!({ "ignored": true }), "ignored", "array"),
        (
            json!({ "ignored": "a-pattern-of-21-bytes" }),
            "ignored",
            "max",
        ),
        (json!({ "is_locked": 2 }), "is_locked", "boolean"),
        (json!({ "full": [true] }), "full", "boolean"),
    ] {
        let text = body.to_string().replace("HALF", "\\ud800");
        let answer = owner.create_raw(Some("application/json"), &text).await;
        let (status, code, _) = answer.refusal();
        assert_eq!((status, code.as_str()), (422, "ValidationException"));
        let source = &answer.json()["errors"][0]["meta"];
        assert_eq!(
            *source,
            json!({ "source_field": field, "rule": rule }),
            "{body}"
        );
    }
    assert_eq!(app.sql().number("SELECT count(*) FROM backups").await, 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_malformed_or_too_large_is_refused() {
    let app = App::without_worker(&[("http.max_body_bytes", "1024")]).await;
    for body in ["{", "[]", "null", "\"text\"", "name=a"] {
        let answer = app.as_owner().create_raw(None, body).await;
        let malformed = "The JSON data passed in the request appears to be malformed.";
        let expected = (400, "BadRequestHttpException".into(), malformed.into());
        assert_eq!(answer.refusal(), expected, "{body}");
    }
    let large = json!({ "name": "x".repeat(2000) });
    let refused = app.as_owner().create(large).await.refusal();
    let too_large = "The request body is too large.";
    assert_eq!(
        refused,
        (413, "PayloadTooLargeException".into(), too_large.into())
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_has_one_running_backup_at_a_time() {
    let app = App::without_worker(&[]).await;
    app.as_owner().create(json!({})).await.uuid();
    let refused = app.as_owner().create(json!({})).await.refusal();
    let text = "Cannot create backup while another backup is in progress.";
    assert_eq!(refused, (409, BUSY.into(), text.into()));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_created_while_a_restore_runs() {
    let mut app = App::start().await;
    files::make_server(&app.directory);
    let uuid = app.backup().await;
    // The server is on another node, so no worker takes the job.
    app.server.node = holdfast_domain::NodeName::parse("elsewhere").unwrap();
    app.save_server().await;
    assert_eq!(app.as_owner().restore(&uuid, json!({})).await.status, 202);
    let refused = app.as_owner().create(json!({})).await.refusal();
    let text = "Cannot create backup while a restore is in progress.";
    assert_eq!(refused, (409, BUSY.into(), text.into()));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_created_while_the_server_is_not_normal() {
    let mut app = App::without_worker(&[("limits.backups_per_server", "0")]).await;
    for (state, text) in [
        (
            ServerState::Installing,
            "Cannot create backup while server is installing.",
        ),
        (
            ServerState::Suspended,
            "Cannot create backup while server is suspended.",
        ),
        (
            ServerState::Restoring,
            "Cannot create backup while a restore is in progress.",
        ),
    ] {
        app.server.state = state;
        app.save_server().await;
        // The limit of 0 is checked later, and a bad body earlier.
        let refused = app.as_owner().create(json!({})).await.refusal();
        assert_eq!(refused, (409, BUSY.into(), text.into()));
        assert_eq!(
            app.as_owner().create(json!({ "name": 1 })).await.status,
            422
        );
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_zero_means_no_backups() {
    let mut app = App::without_worker(&[]).await;
    app.server.limits.backups = Some(0);
    app.save_server().await;
    insta::assert_json_snapshot!(
        "limit_reached",
        app.as_owner().create(json!({})).await.redacted()
    );
    assert_eq!(app.sql().number("SELECT count(*) FROM backups").await, 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn completed_backups_count_against_the_limit_and_failed_ones_do_not() {
    let app = App::start_with(&[("limits.backups_per_server", "2")]).await;
    let owner = app.as_owner();
    app.failed_backup().await;
    app.backup().await;
    app.failed_backup().await;
    let second = app.backup().await;
    let code = owner.create(json!({})).await.refusal().1;
    assert_eq!(code, "TooManyBackupsException");
    assert_eq!(owner.delete(&second).await.status, 204);
    app.backup().await;
    assert_eq!(owner.list("").await.json()["meta"]["backup_count"], 2);
    app.stop().await;
}

/// Requests a hundred backups at once, as the owner, and returns the answers.
async fn a_hundred_at_once(app: &App) -> Vec<Answer> {
    let requests: Vec<_> = (0..100)
        .map(|_| {
            let owner = app.as_owner();
            tokio::spawn(async move { owner.create(json!({})).await })
        })
        .collect();
    let mut answers = Vec::new();
    for request in requests {
        answers.push(request.await.unwrap());
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_a_hundred_simultaneous_requests_gets_the_last_free_place() {
    let app = App::without_worker(&[("limits.backups_per_server", "1")]).await;
    for _round in 0..2 {
        let answers = a_hundred_at_once(&app).await;
        // The others are refused because a backup runs, which is checked before the limit.
        let count = |status| {
            answers
                .iter()
                .filter(|answer| answer.status == status)
                .count()
        };
        assert_eq!((count(200), count(409)), (1, 99));
        assert_eq!(app.sql().number("SELECT count(*) FROM backups").await, 1);
        assert_eq!(app.sql().number("SELECT count(*) FROM jobs").await, 1);
        app.sql()
            .query("DELETE FROM jobs; DELETE FROM backups")
            .await;
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_simultaneous_requests_never_exceed_the_limit() {
    let app = App::start_with(&[("limits.backups_per_server", "2")]).await;
    app.backup().await;
    let mut made = 0;
    let mut refused_by_limit = 0;
    // With a worker, the first backup may complete in between. Then the limit refuses the others.
    while refused_by_limit == 0 {
        for answer in a_hundred_at_once(&app).await {
            match answer.status {
                200 => made += 1,
                409 => {}
                _ => {
                    let text = "This server has reached its backup limit.";
                    let expected = (400, "TooManyBackupsException".into(), text.into());
                    assert_eq!(answer.refusal(), expected);
                    refused_by_limit += 1;
                }
            }
        }
    }
    assert_eq!(made, 1);
    assert_eq!(app.sql().number("SELECT count(*) FROM backups").await, 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_may_not_lock_creates_an_unlocked_backup() {
    let app = App::without_worker(&[]).await;
    let creator = app.as_subuser(&[Permission::Create]).await;
    let created = creator.create(json!({ "is_locked": true })).await;
    assert_eq!(created.attributes()["is_locked"], false);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_patterns_uses_those_of_the_server() {
    let app = App::start().await;
    files::make_server(&app.directory);
    let patterns = "# keep it small\n*.log\r\n\nplugins/\n";
    files::write(&app.directory.join(".pteroignore"), patterns.as_bytes());
    let uuid = app.backup().await;
    let shown = app.as_owner().show(&uuid).await.attributes();
    assert_eq!(
        shown["ignored_files"],
        json!(["# keep it small", "*.log", "plugins/"])
    );
    let names = files::list(&app.archive(&uuid));
    assert!(names.contains(&"world/level.dat".to_owned()), "{names:?}");
    let left_out = |name: &&String| name.ends_with(".log") || name.starts_with("plugins");
    assert_eq!(names.iter().find(left_out), None);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_grows_too_large_fails_and_leaves_nothing() {
    let app = App::start_with(&[("limits.max_backup_bytes", "100000")]).await;
    files::make_server(&app.directory);
    let uuid = app.as_owner().create(json!({})).await.uuid();
    let failed = app.ended(&uuid).await;
    assert_eq!(
        failed["error"],
        "The backup grew larger than the 100000 bytes that are allowed."
    );
    assert_eq!(failed["bytes"], 0);
    assert_eq!(files::files_below(&app.disk), [".holdfast-disk"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_shown_while_a_backup_waits() {
    let app = App::without_worker(&[]).await;
    let created = app.as_owner().create(json!({})).await.attributes();
    let queued = json!({
        "phase": "queued", "percent": 0.0,
        "bytes_done": 0, "bytes_total": 0, "files_done": 0, "files_total": 0,
        "slowed": false,
    });
    assert_eq!(created["progress"], queued);
    assert_eq!(created["is_successful"], Value::Null);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_17_a_request_that_fails_with_5xx_leaves_nothing_behind() {
    let app = App::without_worker(&[]).await;
    let sql = app.sql();
    // The last write fails, as if the database went away in the middle.
    for (table, code, status) in [("jobs", "57P01", 503), ("activity", "XX000", 500)] {
        sql.query(&format!(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END $$"
        ))
        .await;
        sql.query(&format!(
            "CREATE TRIGGER fail AFTER INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION fail()"
        ))
        .await;
        for _ in 0..3 {
            let answer = app.as_owner().create(json!({})).await;
            assert_eq!(answer.status, status, "{answer:?}");
        }
        sql.query("DROP FUNCTION fail() CASCADE").await;
        for table in ["backups", "jobs", "activity"] {
            let rows = format!("SELECT count(*) FROM {table}");
            assert_eq!(sql.number(&rows).await, 0, "{table}");
        }
    }
    assert_eq!(app.as_owner().create(json!({})).await.status, 200);
    app.stop().await;
}
