//! The hosts that the service answers to, and the hosts that links lead to.

use reqwest::Method;
use serde_json::Value;

use crate::support::app::App;
use crate::support::client::{Client, send};

/// Status and the link to the next page of a list with two backups.
async fn list(client: &Client, headers: &[(&str, &str)]) -> (u16, String) {
    let mut request = client.request(Method::GET, "?per_page=1");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = send(request).await;
    let json = answer.json();
    let next = &json["meta"]["pagination"]["links"]["next"];
    let start = next.as_str().and_then(|next| next.split("/api/").next());
    (answer.status, start.unwrap_or_default().to_owned())
}

async fn app_with_two_backups() -> App {
    let app = App::without_worker(&[]).await;
    let insert = format!(
        "INSERT INTO backups (id, server_id, name, disk, state, completed_at, sha256, size_bytes,
                              archive_attempt)
         SELECT gen_random_uuid(), '{}', 'b', 'local', 'completed', now(),
                decode(repeat('00', 32), 'hex'), 1, 1 FROM generate_series(1, 2)",
        app.server.id
    );
    app.sql().query(&insert).await;
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_allowed_hosts_are_answered_and_lead_links() {
    let mut app = app_with_two_backups().await;
    let allowed = (
        "http.allowed_hosts",
        "Backups.example.com, *.example.org, ::1",
    );
    let url = app
        .add_api(&[
            allowed,
            ("downloads.public_url", "https://files.example.net"),
        ])
        .await;
    let owner = app.as_owner().at(&url);
    for (host, expected) in [
        ("backups.example.com", "http://backups.example.com"),
        (
            "BACKUPS.example.com.:8443",
            "http://BACKUPS.example.com.:8443",
        ),
        ("eu.example.org", "http://eu.example.org"),
        ("[::1]:80", "http://[::1]:80"),
        ("files.example.net", "http://files.example.net"),
    ] {
        let found = list(&owner, &[("host", host)]).await;
        assert_eq!(found, (200, expected.to_owned()), "{host}");
    }
    for host in [
        "evil.example",
        "example.org",
        "backups.example.com.evil.example",
        "127.0.0.1",
    ] {
        let request = owner.request(Method::GET, "").header("host", host);
        let answer = send(request).await;
        let text = "The service does not answer to the host of this request.";
        let expected = (400, "BadRequestHttpException".to_owned(), text.to_owned());
        assert_eq!(answer.refusal(), expected, "{host}");
        assert!(!String::from_utf8_lossy(&answer.bytes).contains(host));
        // Metrics and downloads need an allowed name. Load balancers ask for health by address.
        for (path, status) in [
            ("/healthz", 200),
            ("/healthz/", 200),
            ("/readyz", 200),
            ("/metrics", 400),
            ("/download/backup?token=x", 400),
            ("/api/openapi.json", 400),
            ("/nothing", 400),
        ] {
            let request = owner.plain(Method::GET, &format!("{url}{path}"));
            let answer = send(request.header("host", host)).await;
            assert_eq!(answer.status, status, "{host} {path}");
        }
    }
    // A client that is no proxy cannot name a host for itself.
    let forwarded = [
        ("host", "evil.example"),
        ("x-forwarded-host", "backups.example.com"),
    ];
    assert_eq!(list(&owner, &forwarded).await.0, 400);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_trusted_proxy_the_host_that_it_names_must_be_allowed() {
    let mut app = app_with_two_backups().await;
    let url = app
        .add_api(&[
            ("http.allowed_hosts", "backups.example.com"),
            ("http.trusted_proxies", "127.0.0.1"),
        ])
        .await;
    let owner = app.as_owner().at(&url);
    let own = ("host", "127.0.0.1:8080");
    let named = ("x-forwarded-host", "backups.example.com");
    let link = |text: &str| (200, text.to_owned());
    let none = (400, String::new());
    for (headers, expected) in [
        (vec![own, named], link("http://backups.example.com")),
        (
            vec![own, named, ("x-forwarded-proto", "https")],
            link("https://backups.example.com"),
        ),
        (
            vec![
                own,
                (
                    "forwarded",
                    "for=203.0.113.9;host=backups.example.com;proto=https",
                ),
            ],
            link("https://backups.example.com"),
        ),
        (
            vec![("host", "backups.example.com")],
            link("http://backups.example.com"),
        ),
        (vec![own], none.clone()),
        (
            vec![own, ("x-forwarded-host", "evil.example")],
            none.clone(),
        ),
        (
            vec![
                ("host", "backups.example.com"),
                ("x-forwarded-host", "evil.example"),
            ],
            none.clone(),
        ),
        (
            vec![own, ("forwarded", "for=203.0.113.9;host=evil.example")],
            none.clone(),
        ),
        // It passes on what a client has written, and adds nothing of its own.
        (vec![own, ("x-forwarded-host", "<script>")], none),
    ] {
        assert_eq!(list(&owner, &headers).await, expected, "{headers:?}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_setting_every_host_is_answered() {
    let app = app_with_two_backups().await;
    let owner = app.as_owner();
    for host in ["anything.example", "127.0.0.1:1", "my_panel", "[::1]"] {
        let found = list(&owner, &[("host", host)]).await;
        assert_eq!(found, (200, format!("http://{host}")));
    }
    let answer = send(owner.request(Method::GET, "").header("host", "a/b")).await;
    assert_eq!(answer.status, 400);
    let json: Value = answer.json();
    assert_eq!(json["errors"][0]["code"], "BadRequestHttpException");
    app.stop().await;
}
