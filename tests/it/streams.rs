//! `GET …/backups/events`: server-sent events.

use std::time::Instant;

use reqwest::{Method, Response};
use serde_json::{Value, json};

use holdfast_domain::key::{KeyIdentifier, KeyKind};
use holdfast_domain::{Permission, Profile};

use crate::support::app::App;
use crate::support::client::{Client, send};
use crate::support::fixtures;
use crate::support::{eventually, files};

/// The longest time that a test waits for an event: much longer than it takes.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// The events that a client has received.
struct Ear {
    response: Response,
    text: String,
}

#[derive(Clone, Debug, PartialEq)]
struct Heard {
    id: Option<i64>,
    event: String,
    data: Value,
}

impl Ear {
    async fn open(client: &Client, last: Option<&str>) -> Self {
        let mut request = client.request(Method::GET, "/events");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        Self {
            response,
            text: String::new(),
        }
    }

    /// The next event; none if the stream has ended.
    async fn next(&mut self) -> Option<Heard> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let heard = parse(block);
                self.text = rest.to_owned();
                match heard {
                    Some(heard) => return Some(heard),
                    None => continue,
                }
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk());
            let chunk = chunk.await.expect("nothing came").ok().flatten()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next event that is not `backup.progress`.
    async fn change(&mut self) -> Heard {
        loop {
            let heard = self.next().await.expect("the stream has ended");
            if heard.event != "backup.progress" {
                return heard;
            }
            assert_eq!(heard.id, None, "progress has no place in the order");
        }
    }

    /// Waits until the stream ends.
    async fn ended(&mut self) {
        while self.next().await.is_some() {}
    }
}

fn parse(block: &str) -> Option<Heard> {
    let field = |name: &str| {
        let mut lines = block.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let data = serde_json::from_str(field("data")?).unwrap();
    Some(Heard {
        id: field("id").map(|id| id.parse().unwrap()),
        event: field("event").unwrap().to_owned(),
        data,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_sends_events_and_progress() {
    let mut app = App::without_worker(&[]).await;
    app.add_worker(&[("worker.read_limit_bytes_per_second", "1000000")]);
    // Several blocks, each of which makes progress.
    files::write(&app.directory.join("big.dat"), &files::noise(5_000_000, 5));
    let mut ear = Ear::open(&app.as_owner(), None).await;
    let headers = ear.response.headers().clone();
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(headers[name], value);
    }
    assert!(!headers.contains_key("content-encoding"));
    let ready = ear.next().await.unwrap();
    assert_eq!(ready.event, "stream.ready");
    assert_eq!(ready.data["missed"], false);
    let uuid = app.as_owner().create(json!({})).await.uuid();
    let created = ear.change().await;
    assert_eq!(created.event, "backup.created");
    assert_eq!(created.data["backup"]["uuid"], json!(uuid));
    assert!(created.id > ready.id);
    let mut phases = Vec::new();
    let completed = loop {
        let heard = ear.next().await.unwrap();
        if heard.event != "backup.progress" {
            break heard;
        }
        assert_eq!(heard.data["backup"]["uuid"], json!(uuid));
        assert_eq!(heard.data["job"], "create_backup");
        phases.push(heard.data);
    };
    assert_eq!(completed.event, "backup.completed");
    assert!(completed.data["backup"]["bytes"].as_u64() > Some(4_900_000));
    let archiving = |progress: &&Value| progress["progress"]["phase"] == "archiving";
    let last = phases.iter().rfind(archiving).unwrap();
    assert_eq!(last["progress"]["bytes_total"], 5_000_000);
    assert!(last["bytes_per_second"].as_u64() > Some(0), "{last}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reconnects_misses_nothing_and_gets_nothing_twice() {
    let app = App::start().await;
    let owner = app.as_owner();
    let uuid = app.backup().await;
    let mut ear = Ear::open(&owner, Some("0")).await;
    assert_eq!(ear.change().await.data["missed"], false);
    let (created, completed) = (ear.change().await, ear.change().await);
    assert_eq!(completed.event, "backup.completed");
    drop(ear);
    assert_eq!(owner.lock(&uuid, json!({})).await.status, 204);
    assert_eq!(owner.unlock(&uuid).await.status, 204);
    // Events of another server are not sent.
    let other = app.another_server("other").await.id.to_string();
    owner.about(&other).create(json!({})).await.uuid();
    let after = created.id.unwrap().to_string();
    let mut ear = Ear::open(&owner, Some(&after)).await;
    assert_eq!(ear.change().await.event, "stream.ready");
    assert_eq!(ear.change().await, completed);
    let locked = ear.change().await;
    let unlocked = ear.change().await;
    for (heard, is_locked) in [(locked, true), (unlocked, false)] {
        assert_eq!(heard.event, "backup.changed");
        assert_eq!(heard.data["backup"]["is_locked"], is_locked);
    }
    assert_eq!(owner.delete(&uuid).await.status, 204);
    assert_eq!(ear.change().await.event, "backup.deleted");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_told_when_something_may_be_missing() {
    let app = App::start().await;
    let uuid = app.backup().await;
    app.as_owner().lock(&uuid, json!({})).await;
    app.sql()
        .query("DELETE FROM events WHERE kind <> 'backup.changed'")
        .await;
    let newest = app.sql().number("SELECT max(id) FROM events").await;
    for (last, missed, comes) in [
        ("0", true, true),
        (&*(newest - 1).to_string(), false, true),
        (&*newest.to_string(), false, false),
        ("99999999", true, false),
        ("rubbish", true, false),
    ] {
        let mut ear = Ear::open(&app.as_owner(), Some(last)).await;
        let ready = ear.change().await;
        assert_eq!(ready.data["missed"], missed, "{last}");
        if comes {
            assert_eq!(ear.change().await.event, "backup.changed", "{last}");
        } else {
            assert_eq!(ready.id, Some(newest), "{last}");
        }
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_caller_may_no_longer_listen() {
    let app = App::without_worker(&[]).await;
    let reader = app.as_subuser(&[Permission::Read]).await;
    let creator = app.as_subuser(&[Permission::Create]).await;
    for (client, status) in [
        (&creator, 403),
        (&app.as_stranger(), 404),
        (&app.as_anonymous(), 401),
    ] {
        let answer = send(client.request(Method::GET, "/events")).await;
        assert_eq!(answer.status, status);
    }
    let refused = send(app.as_owner().request(Method::POST, "/events")).await;
    assert_eq!((refused.status, refused.header("allow")), (405, "GET"));

    let owner = app.owner_id();
    let token = app.key(owner, KeyKind::Client, Profile::Documented).await;
    let other_key = app.as_owner().with_token(&token);
    let mut by_key = Ear::open(&other_key, None).await;
    let mut by_right = Ear::open(&reader, None).await;
    let mut stays = Ear::open(&app.as_owner(), None).await;
    let identifier = KeyIdentifier::parse(&token[..16]).unwrap();
    assert!(fixtures::no_key(&app.database, &identifier).await.unwrap());
    by_key.ended().await;
    let users = "SELECT user_id FROM subusers WHERE permissions = '{backup.read}'";
    let rows = app.sql().query(users).await;
    let user = holdfast_domain::UserId(rows[0][0].as_deref().unwrap().parse().unwrap());
    fixtures::subuser(&app.database, app.server.id, user, &[Permission::Create])
        .await
        .unwrap();
    by_right.ended().await;
    assert_eq!(stays.change().await.event, "stream.ready");
    app.as_owner().create(json!({})).await.uuid();
    assert_eq!(stays.change().await.event, "backup.created");
    // Requests do not find a server that is being deleted.
    app.sql()
        .query("UPDATE servers SET deleting_at = now()")
        .await;
    stays.ended().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_beyond_the_limit_are_refused_until_one_ends() {
    let app = App::without_worker(&[
        ("http.event_streams", "3"),
        ("http.event_streams_per_key", "2"),
    ])
    .await;
    let (owner, admin) = (app.as_owner(), app.as_admin());
    let first = Ear::open(&owner, None).await;
    let mut second = Ear::open(&owner, None).await;
    let refused = send(owner.request(Method::GET, "/events")).await;
    assert_eq!(refused.header("retry-after"), "5");
    let text = "Too many event streams are open, please close one first.";
    let code = "TooManyRequestsHttpException";
    assert_eq!(refused.refusal(), (429, code.into(), text.into()));
    let mut third = Ear::open(&admin, None).await;
    let refused = send(admin.request(Method::GET, "/events")).await;
    assert_eq!(refused.status, 429, "the process has as many as it may");
    drop(first);
    let closed = Instant::now();
    let mut last = eventually("a place is free", async || {
        let response = owner.request(Method::GET, "/events").send().await.unwrap();
        let text = String::new();
        (response.status() == 200).then_some(Ear { response, text })
    })
    .await;
    // Keep-alives alone would take more than 30 s to find the closed one.
    assert!(closed.elapsed().as_secs() < 15, "{:?}", closed.elapsed());
    assert_eq!(last.change().await.event, "stream.ready");
    // The probes have disturbed no other stream.
    app.as_owner().create(json!({})).await.uuid();
    for ear in [&mut second, &mut third] {
        assert_eq!(ear.change().await.event, "stream.ready");
        assert_eq!(ear.change().await.event, "backup.created");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_catch_up_after_a_database_outage_and_end_with_the_service() {
    let app = App::without_worker(&[]).await;
    let mut ears = Vec::new();
    for _ in 0..3 {
        let mut ear = Ear::open(&app.as_owner(), None).await;
        assert_eq!(ear.change().await.event, "stream.ready");
        ears.push(ear);
    }
    // Every connection is cut, including the one that listens, so no notification of the next
    // changes arrives.
    app.sql()
        .query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await;
    eventually("the service answers again", async || {
        (app.as_owner().create(json!({})).await.status == 200).then_some(())
    })
    .await;
    for ear in &mut ears {
        assert_eq!(ear.change().await.event, "backup.created");
    }
    app.stop().await;
    for ear in &mut ears {
        ear.ended().await;
    }
}
