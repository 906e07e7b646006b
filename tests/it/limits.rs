//! Rate limits: requests in a minute, backups in a period.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use holdfast_domain::Profile;
use holdfast_domain::key::KeyKind;

use crate::support::app::App;
use crate::support::client::{Answer, Client, send};
use crate::support::eventually;

/// Sends requests until one is refused: at most those of two minutes, in case a minute ends
/// meanwhile.
async fn until_refused(client: &Client) -> (Vec<Answer>, Answer) {
    let mut allowed = Vec::new();
    for _ in 0..8 {
        let answer = client.list("").await;
        if answer.status == 429 {
            return (allowed, answer);
        }
        allowed.push(answer);
    }
    panic!("never refused")
}

fn number(answer: &Answer, header: &str) -> u64 {
    let text = answer.header(header);
    text.parse()
        .unwrap_or_else(|_| panic!("{header}: {text:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_over_the_rate_limit_is_told_when_to_retry() {
    let app = App::without_worker(&[("http.rate_limit_per_minute", "3")]).await;
    let (allowed, refused) = until_refused(&app.as_owner()).await;
    for answer in &allowed {
        assert_eq!(answer.status, 200);
        assert_eq!(number(answer, "x-ratelimit-limit"), 3);
        assert!(number(answer, "x-ratelimit-remaining") < 3);
    }
    let text = "Too many requests, please slow down.";
    assert_eq!(
        refused.refusal(),
        (429, "TooManyRequestsHttpException".into(), text.into())
    );
    assert_eq!(number(&refused, "x-ratelimit-remaining"), 0);
    assert!((1..=60).contains(&number(&refused, "retry-after")));
    assert_eq!(number(&refused, "x-ratelimit-reset") % 60, 0);
    // Other keys are counted separately, and so are callers without a key.
    assert_eq!(app.as_admin().list("").await.status, 200);
    let (allowed, refused) = until_refused(&app.as_anonymous()).await;
    assert!(allowed.iter().all(|answer| answer.status == 401));
    assert_eq!(number(&allowed[0], "x-ratelimit-limit"), 3);
    assert_eq!(number(&refused, "x-ratelimit-limit"), 3);
    // Paths outside /api/ are not counted.
    for _ in 0..8 {
        let url = format!("{}/healthz", app.base_url);
        let answer = send(app.as_anonymous().plain(Method::GET, &url)).await;
        assert_eq!(
            (answer.status, answer.header("x-ratelimit-limit")),
            (200, "")
        );
    }
    app.stop().await;
}

/// Sends requests until one is refused. Returns how many were accepted, and when the refusal ends.
async fn exhaust(client: &Client) -> (u64, u64) {
    let mut allowed = 0;
    let refused = eventually("a refusal", async || {
        let answer = client.list("").await;
        allowed += u64::from(answer.status == 200);
        (answer.status == 429).then_some(answer)
    })
    .await;
    (allowed, number(&refused, "x-ratelimit-reset"))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_the_limit_within_about_a_second() {
    const LIMIT: u64 = 300;
    let mut app = App::without_worker(&[("http.rate_limit_per_minute", "300")]).await;
    let one = app.as_owner();
    let other = app.as_owner().at(&app.add_api(&[]).await);
    // Repeats once if the minute ends meanwhile, since counting then restarts.
    for round in 0.. {
        while one.list("").await.status == 200 {}
        let reset = number(&one.list("").await, "x-ratelimit-reset");
        let begun = Instant::now();
        // Alone, this process would accept its whole limit.
        let (allowed, until) = exhaust(&other).await;
        if until == reset {
            assert!(allowed < LIMIT, "{allowed} at the other");
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "{:?}",
                begun.elapsed()
            );
            break;
        }
        assert!(round < 3, "the minute always ended");
    }
    // Another key is counted separately in both processes.
    assert_eq!(app.as_admin().list("").await.status, 200);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_backed_up_too_often_must_wait() {
    let app = App::start_with(&[
        ("limits.create_throttle_count", "2"),
        ("limits.create_throttle_seconds", "600"),
        ("limits.backups_per_server", "2"),
    ])
    .await;
    app.failed_backup().await;
    app.backup().await;
    let deleted = app.backup().await;
    let text = "Only 2 backups may be generated within a 600 second span of time.";
    let expected = (429, "TooManyRequestsHttpException".into(), text.into());
    // Checked before the limit, which is reached as well. A deletion does not help.
    let refused = app.as_owner().create(json!({})).await.refusal();
    assert_eq!(refused, expected);
    assert_eq!(app.as_owner().delete(&deleted).await.status, 204);
    let refused = app.as_owner().create(json!({})).await.refusal();
    assert_eq!(refused, expected);
    app.sql()
        .query("UPDATE jobs SET created_at = created_at - interval '601 seconds'")
        .await;
    app.backup().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_secrets_beyond_the_limit_are_not_looked_up() {
    let app = App::without_worker(&[("http.rate_limit_per_minute", "6")]).await;
    let owner = app.as_owner();
    let token = owner.token().unwrap().to_owned();
    // The identifier is right, and the secret is wrong.
    let guess = owner.with_token(&format!("{}{}", &token[..16], "0".repeat(32)));
    // Repeats if a minute ends meanwhile, since counting then restarts.
    for round in 0.. {
        assert_eq!(
            owner.list("").await.status,
            200,
            "a valid key is not counted by address"
        );
        until_refused(&guess).await;
        let reset = number(&guess.list("").await, "x-ratelimit-reset");
        app.sql().take_away().await;
        let blind = guess.list("").await;
        let unseen = app.as_stranger().list("").await;
        let known = owner.list("").await;
        app.sql().bring_back().await;
        if number(&guess.list("").await, "x-ratelimit-reset") != reset {
            assert!(round < 3, "the minute always ended");
            continue;
        }
        // Without the database, a look-up would be answered with 503.
        assert_eq!(blind.status, 429);
        assert_eq!(
            unseen.status, 429,
            "a key that was never valid here counts as a guess"
        );
        assert_eq!(
            known.status, 503,
            "a key that was valid before is looked up"
        );
        break;
    }
    eventually("the owner is answered", async || {
        (owner.list("").await.status == 200).then_some(())
    })
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_valid_key_does_not_use_up_the_limit_of_its_address() {
    let app = App::without_worker(&[("http.rate_limit_per_minute", "3")]).await;
    // More keys than the address has requests.
    for _ in 0..5 {
        let user = app.owner_id();
        let token = app.key(user, KeyKind::Client, Profile::Documented).await;
        let answer = app.as_owner().with_token(&token).list("").await;
        assert_eq!(answer.status, 200);
    }
    // With two keys, a proxy may have checked the other one.
    let owner = app.as_owner();
    let token = owner.token().unwrap().to_owned();
    let twice = owner.request(Method::GET, "");
    let twice = send(twice.header("authorization", format!("Bearer {token}"))).await;
    assert_eq!(twice.status, 401);
    app.stop().await;
}
