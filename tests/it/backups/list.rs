//! `GET …/backups`.

use serde_json::json;

use crate::support::app::App;
use crate::support::client::Client;

/// Inserts `count` failed backups, one a minute, newest first: `b1`, `b2`, ….
async fn add_backups(app: &App, count: u32) {
    let server = app.server.id;
    let insert = format!(
        "INSERT INTO backups (id, server_id, name, disk, state, failed_at, error, created_at)
         SELECT gen_random_uuid(), '{server}', 'b' || n, 'local', 'failed', now(), 'It was a test.',
                timestamptz '2026-01-01' - n * interval '1 minute'
         FROM generate_series(1, {count}) n"
    );
    app.sql().query(&insert).await;
}

async fn names(client: &Client, query: &str) -> Vec<String> {
    let list = client.list(query).await;
    assert_eq!(list.status, 200, "{query}");
    let json = list.json();
    let backups = json["data"].as_array().unwrap();
    let name = |backup: &serde_json::Value| backup["attributes"]["name"].as_str().unwrap().into();
    backups.iter().map(name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_backups_has_an_empty_list() {
    let app = App::without_worker(&[]).await;
    insta::assert_json_snapshot!("empty", app.as_owner().list("").await.redacted());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_are_listed_newest_first_and_only_the_servers_own() {
    let app = App::start().await;
    let failed = app.failed_backup().await;
    let completed = app.backup().await;
    // A job that this worker never claims.
    let other = app.another_server("other").await;
    let sql = format!(
        "UPDATE servers SET node = 'elsewhere' WHERE id = '{}'",
        other.id
    );
    app.sql().query(&sql).await;
    let others = app.as_owner().about(&other.id.to_string());
    let foreign = others.create(json!({ "name": "foreign" })).await.uuid();

    let list = app.as_owner().list("").await;
    insta::assert_json_snapshot!("completed_and_failed", {
        ".**.name" => insta::dynamic_redaction(|value, _path| {
            let name = value.as_str().unwrap_or_default();
            assert!(name.starts_with("Backup at 20"), "{name}");
            "[name with the time]"
        }),
    }, list.redacted());
    let uuid = |n: usize| list.json()["data"][n]["attributes"]["uuid"].clone();
    assert_eq!([uuid(0), uuid(1)], [json!(completed), json!(failed)]);
    let of_other = others.list("").await.json();
    assert_eq!(of_other["data"][0]["attributes"]["uuid"], json!(foreign));
    assert_eq!(of_other["meta"]["pagination"]["total"], 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_has_linked_pages() {
    let app = App::without_worker(&[]).await;
    add_backups(&app, 30).await;
    let owner = app.as_owner();
    let first: Vec<String> = (1..=25).map(|n| format!("b{n}")).collect();
    assert_eq!(names(&owner, "").await, first);
    assert_eq!(
        names(&owner, "?page=2").await,
        ["b26", "b27", "b28", "b29", "b30"]
    );
    assert_eq!(names(&owner, "?page=2&per_page=2").await, ["b3", "b4"]);
    assert_eq!(names(&owner, "?page=3&per_page=20").await, [""; 0]);
    let pagination = async |query| {
        let list = owner.list(query).await.redacted();
        list["body"]["meta"]["pagination"].clone()
    };
    let middle = pagination("?page=2&per_page=10").await;
    insta::assert_json_snapshot!("middle_page", middle);
    let last = pagination("?page=3&per_page=10&unknown=1").await;
    insta::assert_json_snapshot!("last_page", last);
    let past = pagination("?page=9").await;
    insta::assert_json_snapshot!("past_the_end", past);
    // The page behind each link exists.
    let next =
        owner.list("?per_page=20").await.json()["meta"]["pagination"]["links"]["next"].clone();
    let request = owner.plain(reqwest::Method::GET, next.as_str().unwrap());
    let page = crate::support::client::send(request).await.json();
    assert_eq!(page["meta"]["pagination"]["count"], 10);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_query_values_mean_the_default() {
    let app = App::without_worker(&[]).await;
    add_backups(&app, 3).await;
    for (query, page, per_page, count) in [
        ("?page=0", 1, 25, 3),
        ("?page=-1&per_page=-1", 1, 25, 3),
        ("?page=two&per_page=1e3", 1, 25, 3),
        ("?per_page=0", 1, 1, 1),
        ("?per_page=1000", 1, 100, 3),
        ("?per_page=%202%20", 1, 2, 2),
        ("?%%%", 1, 25, 3),
        ("?filter[name]=x&page=1", 1, 25, 3),
    ] {
        let answer = app.as_owner().list(query).await;
        assert_eq!(answer.status, 200, "{query}");
        let pagination = &answer.json()["meta"]["pagination"];
        let found = [
            &pagination["current_page"],
            &pagination["per_page"],
            &pagination["count"],
        ];
        assert_eq!(
            found,
            [&json!(page), &json!(per_page), &json!(count)],
            "{query}"
        );
    }
    let far = app.as_owner().list("?page=99999999999999999999").await;
    assert_eq!((far.status, &far.json()["data"]), (200, &json!([])));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_work_in_every_state_of_the_server() {
    let mut app = App::without_worker(&[]).await;
    for state in holdfast_domain::ServerState::ALL {
        app.server.state = state;
        app.save_server().await;
        assert_eq!(app.as_owner().list("").await.status, 200, "{state:?}");
    }
    app.stop().await;
}
