//! Attacks on the way to the panel: on what it is asked, on behalf of whom, and how often.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use holdfast_domain::key::KeyKind;
use holdfast_domain::{Profile, UserId};

use super::{World, create, list, refusal};
use crate::support::app::App;
use crate::support::client::send;
use crate::support::fixtures;

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_own_server_opens_no_other_server() {
    let world = World::start(&[]).await;
    let mallory = world.with_key_of("stranger");
    let (here_only, in_panel_only) = (world.app.another_server("other").await.id.0, Uuid::new_v4());
    world.add_to_panel(in_panel_only);
    world.client_api(|api| {
        api.servers.get_mut(&in_panel_only).unwrap().owner = "stranger".to_owned();
    });
    // The panel's answer about one's own server does not help with another one.
    let panel = world.panel.url();
    let own = format!("{panel}/api/client/servers/{in_panel_only}");
    assert_eq!(send(mallory.plain(Method::GET, &own)).await.status, 200);
    for server in [
        world.server.to_string(),
        world.server.to_string()[..8].to_owned(),
        // Without a row here there is nothing.
        in_panel_only.to_string(),
        in_panel_only.to_string()[..8].to_owned(),
        here_only.to_string(),
        Uuid::new_v4().to_string(),
    ] {
        let caller = mallory.about(&server);
        assert_eq!(send(list(&caller)).await.status, 404, "{server}");
        assert_eq!(send(create(&caller)).await.status, 404, "{server}");
    }
    // A server of another panel, whose UUID somebody has given to a server of this one.
    let twin = mallory.about(&here_only.to_string());
    world.add_to_panel(here_only);
    world.client_api(|api| {
        api.servers.get_mut(&here_only).unwrap().owner = "stranger".to_owned();
    });
    assert_eq!(send(list(&twin)).await.status, 200);
    for (panel, status) in [("'https://other.example.com'", 404), ("NULL", 404)] {
        let managed = format!(
            "UPDATE servers SET managed_by = 'wings', panel = {panel} WHERE id = '{here_only}'"
        );
        world.app.sql().query(&managed).await;
        assert_eq!(send(list(&twin)).await.status, status);
        assert_eq!(send(create(&twin)).await.status, status);
    }
    // A panel that answers about another server than the one that was asked for is not believed.
    let lie = json!({
        "attributes": { "uuid": in_panel_only, "feature_limits": { "backups": 9 } },
        "meta": { "is_server_owner": true, "user_permissions": ["*"] },
    });
    world.client_api(|api| api.instead = Some(lie.to_string()));
    assert_eq!(send(create(&mallory)).await.status, 503);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_server_is_asked_for_whatever_the_path_holds() {
    let world = World::start(&[]).await;
    let owner = world.with_key_of("owner");
    let uuid = world.server.to_string();
    for server in [
        "..%2f..%2faccount%2fapi-keys",
        "%2e%2e",
        &format!("{uuid}%2f..%2f..%2faccount"),
        &format!("{uuid}%3finclude=subusers"),
        &format!("{uuid}%23"),
        &format!("{uuid}%00"),
        &format!("{uuid}%0d%0aX-Evil:%201"),
        &format!("{uuid}@evil.example"),
        "0",
        "wings",
        &uuid.replace('-', ""),
        &format!("%7b{uuid}%7d"),
    ] {
        let caller = owner.about(server);
        assert_eq!(send(list(&caller)).await.status, 404, "{server}");
        assert_eq!(send(create(&caller)).await.status, 404, "{server}");
    }
    assert!(world.asked().is_empty(), "{:?}", world.asked());
    assert_eq!(
        send(list(&owner.about(&uuid.to_uppercase()))).await.status,
        200
    );
    let asked = world.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].method, "GET");
    assert_eq!(asked[0].path, format!("/api/client/servers/{uuid}"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_panel_gets_the_credential_and_nothing_else_of_a_request() {
    let world = World::start(&[]).await;
    let owner = world.with_key_of("owner");
    let request = owner
        .request(Method::POST, "?token=t&per_page=3")
        .json(&json!({ "name": "secret name" }))
        .header("cookie", "pterodactyl_session=other")
        .header("x-forwarded-host", "evil.example")
        .header("x-forwarded-for", "203.0.113.7")
        .header("x-real-ip", "203.0.113.7")
        .header("forwarded", "for=203.0.113.7")
        .header("cf-connecting-ip", "203.0.113.7")
        .header("calagopus-user", Uuid::new_v4().to_string())
        .header("x-http-method-override", "DELETE");
    assert_eq!(send(request).await.status, 200);
    let asked = world.asked();
    assert_eq!(asked.len(), 1);
    let mut names: Vec<&str> = asked[0]
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    names.sort_unstable();
    let expected = [
        "accept",
        "authorization",
        "host",
        "user-agent",
        "x-forwarded-for",
        "x-holdfast-asks-panel",
        "x-requested-with",
    ];
    assert_eq!(names, expected);
    let key = format!("Bearer {}", owner.token().unwrap());
    assert_eq!(asked[0].header("authorization"), [key.as_str()]);
    assert_eq!(asked[0].header("x-forwarded-for"), ["127.0.0.1"]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_cannot_end_the_header_that_carries_it() {
    let world = World::start(&[]).await;
    let anonymous = world.app.as_anonymous();
    let valid = world.client_api(|api| api.add_key("owner"));
    for value in [
        &b"Bearer a\tX-Evil: 1"[..],
        b"Bearer \xc4\xa0X-Evil",
        b"Bearer \xffx",
        b"Bearer a, Bearer b",
        b"Bearer a;b",
        b"Bearer",
        b"Bearer ",
    ] {
        let request =
            list(&anonymous).header("authorization", HeaderValue::from_bytes(value).unwrap());
        assert_eq!(send(request).await.status, 401, "{}", value.escape_ascii());
    }
    let twice = list(&anonymous)
        .header("authorization", format!("Bearer {valid}"))
        .header("authorization", format!("Bearer {valid}"));
    assert_eq!(send(twice).await.status, 401);

    // What no client library would send.
    let address = world.app.base_url.strip_prefix("http://").unwrap();
    for line in [
        format!("Authorization: Bearer {valid}\rX-Evil: 1"),
        format!("Authorization: Bearer {valid}\n X-Evil: 1"),
        "Cookie: pterodactyl_session=a\rX-Evil: 1".to_owned(),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let path = format!("/api/client/servers/{}/backups", world.server);
        let text = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{line}\r\nConnection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = &answer[9..12];
        assert!(["400", "401"].contains(&status), "{line:?}: {answer}");
    }
    assert!(world.asked().is_empty(), "{:?}", world.asked());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_of_this_service_reaches_the_panel() {
    let world = World::start(&[]).await;
    let app = &world.app;
    let user = UserId(Uuid::new_v4());
    fixtures::user(&app.database, user, "own@example.com", false)
        .await
        .unwrap();
    let client = app.key(user, KeyKind::Client, Profile::Documented).await;
    let application = app
        .key(user, KeyKind::Application, Profile::Documented)
        .await;
    let revoked = app.key(user, KeyKind::Client, Profile::Documented).await;
    app.sql()
        .query(&format!(
            "DELETE FROM api_keys WHERE identifier = '{}'",
            &revoked[..16]
        ))
        .await;
    let wrong = format!(
        "{}{}",
        &client[..47],
        if client.ends_with('a') { 'b' } else { 'a' }
    );
    // A secret that was mistyped, so that the service could not have made it.
    let mistyped = format!("{}0", &client[..47]);
    let anonymous = app.as_anonymous();
    for (key, status) in [
        (&client, 404),
        (&application, 403),
        (&revoked, 401),
        (&wrong, 401),
        (&mistyped, 401),
    ] {
        let caller = anonymous.with_token(key);
        assert_eq!(send(list(&caller)).await.status, status);
        assert_eq!(send(create(&caller)).await.status, status);
    }
    let url = format!("{}/download/backup?token=x", app.base_url);
    assert_eq!(send(anonymous.plain(Method::GET, &url)).await.status, 403);
    assert!(world.asked().is_empty(), "{:?}", world.asked());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_the_panel_open_nothing_but_servers() {
    let world = World::start(&[]).await;
    let session = world.client_api(|api| api.sign_in("admin"));
    let cookie = format!("pterodactyl_session={session}");
    let admin = world.with_key_of("admin");
    let base_url = &world.app.base_url;
    let server = world.server;
    for path in [
        "/api/application/users".to_owned(),
        "/api/application/servers".to_owned(),
        format!("/api/application/servers/{server}"),
        format!("/api/application/servers/{server}/subusers"),
        "/api/application/keys".to_owned(),
        "/api/client".to_owned(),
        "/api/client/account".to_owned(),
    ] {
        let url = format!("{base_url}{path}");
        let by_key = admin.plain(Method::GET, &url);
        assert_eq!(refusal(by_key).await.0, 401, "{path}");
        let by_session = world.app.as_anonymous().plain(Method::GET, &url);
        assert_eq!(
            refusal(by_session.header("cookie", &cookie)).await.0,
            401,
            "{path}"
        );
    }
    let url = format!("{base_url}/api/application/servers/{server}");
    assert_eq!(refusal(admin.plain(Method::DELETE, &url)).await.0, 401);
    assert!(world.asked().is_empty());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claimed_address_does_not_satisfy_the_panels_address_list() {
    let allowed = "203.0.113.7";
    let world = World::start(&[]).await;
    let owner = world.with_key_of("owner");
    let key = owner.token().unwrap().to_owned();
    world.client_api(|api| {
        api.trusts_proxies = true;
        let row = api.keys.get_mut(&key).unwrap();
        row.allowed_ips = vec![allowed.parse().unwrap()];
    });
    for header in ["x-forwarded-for", "x-real-ip", "client-ip"] {
        let claimed = list(&owner).header(header, allowed);
        let (status, _, detail) = send(claimed).await.refusal();
        assert_eq!(status, 403, "{header}");
        assert!(detail.contains("(127.0.0.1)"), "{detail}");
    }
    for asked in world.asked() {
        assert_eq!(asked.header("x-forwarded-for"), ["127.0.0.1"]);
    }
    world.stop().await;

    // Behind a proxy that this service trusts, the address is the client's.
    let world = World::start(&[("http.trusted_proxies", "127.0.0.1")]).await;
    let owner = world.with_key_of("owner");
    let key = owner.token().unwrap().to_owned();
    world.client_api(|api| {
        api.trusts_proxies = true;
        let row = api.keys.get_mut(&key).unwrap();
        row.allowed_ips = vec![allowed.parse().unwrap()];
    });
    let from = |address: &str| list(&owner).header("x-forwarded-for", address);
    assert_eq!(send(from(allowed)).await.status, 200);
    // The answer to one address is none for another.
    assert_eq!(send(from("203.0.113.8")).await.status, 403);
    assert_eq!(
        send(from(&format!("{allowed}, 203.0.113.8"))).await.status,
        403
    );
    let unknown = send(from("unknown")).await.refusal();
    assert_eq!((unknown.0, unknown.2.contains("(unknown)")), (403, true));
    assert_eq!(send(from(allowed)).await.status, 200);
    assert_eq!(world.asked().len(), 3);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_wrong_keys_does_not_reach_the_panel() {
    let limit = 20;
    let world = World::start(&[("http.rate_limit_per_minute", &limit.to_string())]).await;
    let anonymous = world.app.as_anonymous();
    let mut guesses = Vec::new();
    for number in 0..200 {
        let key = format!("ptlc_{number:0>43}").replace("ptlc_0", "ptlc_Z");
        guesses.push(send(list(&anonymous.with_token(&key))));
    }
    let answers = futures_util::future::join_all(guesses).await;
    let refused = answers.iter().filter(|answer| answer.status == 429).count();
    let wrong = answers.iter().filter(|answer| answer.status == 401).count();
    assert_eq!(refused + wrong, 200);
    // A minute may have begun meanwhile.
    let asked = world.asked().len();
    assert!((limit..=2 * limit).contains(&asked), "{asked}");
    assert_eq!(asked, wrong);
    let session = send(list(&anonymous).header("cookie", "pterodactyl_session=guess")).await;
    assert!([401, 429].contains(&session.status));
    assert!(world.asked().len() <= 2 * limit);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_caller_cannot_flood_the_panel_either() {
    let world = World::start(&[("http.rate_limit_per_minute", "20")]).await;
    let owner = world.with_key_of("owner");
    let mut answers = Vec::new();
    for _ in 0..100 {
        answers.push(send(
            owner.request(Method::POST, "/a4962fe6-90c8-4b89-ba62-a5d3b06426c0/lock"),
        ));
    }
    let answers = futures_util::future::join_all(answers).await;
    let limited = answers.iter().filter(|answer| answer.status == 429).count();
    assert!(limited >= 60, "{limited}");
    assert!(world.asked().len() <= 60, "{}", world.asked().len());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn few_requests_to_the_panel_run_at_once() {
    // A panel that accepts connections, and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = App::without_worker(&[("auth.panel.url", &url)]).await;
    let mut guesses = tokio::task::JoinSet::new();
    for number in 0..100 {
        let caller = app.as_anonymous().with_token(&format!("key-{number}"));
        guesses.spawn(send(list(&caller)));
    }
    let mut held = Vec::new();
    for _ in 0..16 {
        held.push(listener.accept().await.unwrap());
    }
    // The others wait, and give up after a while.
    let another = tokio::time::timeout(Duration::from_secs(1), listener.accept()).await;
    assert!(another.is_err());
    while let Some(answer) = guesses.join_next().await {
        assert_eq!(answer.unwrap().status, 503);
    }
    app.stop().await;
}
