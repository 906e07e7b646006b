//! A real nginx in front of the API: the client's address, and archives that stay as they are.

use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::Value;

use crate::support::app::App;
use crate::support::client::send;
use crate::support::files;
use crate::support::nginx::Nginx;

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_compresses_everything_passes_archives_on_unchanged() {
    let app = App::start_with(&[("http.trusted_proxies", "127.0.0.1")]).await;
    files::make_server(&app.directory);
    let service = app.base_url.strip_prefix("http://").unwrap();
    let panel = include_str!("../../deploy/nginx/panel.conf").replace("127.0.0.1:8080", service);
    let compressed = format!("location /plain/ {{ proxy_pass http://{service}/; }}");
    if let Some(nginx) = Nginx::start(&format!("{panel}\n{compressed}")).await {
        let uuid = app.backup().await;
        let owner = app.as_owner().at(&nginx.url);
        let link = owner.download(&uuid).await.link();
        assert!(link.starts_with(&nginx.url), "{link}");
        let archive = fs_err::read(app.archive(&uuid)).unwrap();
        let length = archive.len().to_string();
        let get = |url: &str| {
            let request = owner.plain(Method::GET, url);
            request.header("accept-encoding", "gzip")
        };

        let whole = send(get(&link)).await;
        assert_eq!((whole.status, whole.bytes == archive), (200, true));
        let head = owner.plain(Method::HEAD, &link);
        let head = send(head.header("accept-encoding", "gzip")).await;
        for answer in [&whole, &head] {
            assert_eq!(answer.header("content-encoding"), "");
            assert_eq!(answer.header("content-length"), length);
            let caching = "private, no-store, no-transform";
            assert_eq!(answer.header("cache-control"), caching);
        }
        let tag = whole.header("etag").to_owned();
        let ranged = |tag: &str| {
            get(&link)
                .header("range", "bytes=5-")
                .header("if-range", tag)
        };
        let part = send(ranged(&tag)).await;
        assert_eq!((part.status, part.bytes == archive[5..]), (206, true));
        assert_eq!(
            part.header("cache-control"),
            "private, no-store, no-transform"
        );
        // A proxy that compressed the archive would have weakened its tag: no range fits that.
        let weak = send(ranged(&format!("W/{tag}"))).await;
        assert_eq!((weak.status, weak.bytes == archive), (200, true));
        let known = send(get(&link).header("if-none-match", format!("W/{tag}"))).await;
        assert_eq!(known.status, 304);
        assert_eq!(
            known.header("cache-control"),
            "private, no-store, no-transform"
        );

        let url = owner.request(Method::GET, &format!("/{uuid}/contents/file"));
        let url = url.query(&[("path", "server.properties")]);
        let file = send(url.header("accept-encoding", "gzip")).await;
        let expected = fs_err::read(app.directory.join("server.properties")).unwrap();
        assert_eq!((file.status, file.bytes == expected), (200, true));
        assert_eq!(file.header("content-encoding"), "");
        assert_eq!(file.header("content-length"), expected.len().to_string());
        assert_eq!(file.header("cache-control"), "no-store, no-transform");

        // Without `gzip off`, this nginx compresses archives. So the lines above show something.
        let path = link.strip_prefix(&nginx.url).unwrap();
        let again = send(get(&format!("{}/plain{path}", nginx.url))).await;
        assert_eq!(again.header("content-encoding"), "gzip");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_cannot_be_read_is_nobody_behind_a_proxy() {
    let app = App::without_worker(&[("http.trusted_proxies", "127.0.0.1")]).await;
    let service = app.base_url.strip_prefix("http://").unwrap();
    // This proxy appends to what the client sends. Here the client is 127.0.0.1, as the proxy is,
    // so the walk goes on to the client's own entry.
    let appending = format!(
        "location / {{ proxy_pass http://{service}; \
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }}"
    );
    if let Some(nginx) = Nginx::start(&appending).await {
        let metrics = format!("{}/metrics", nginx.url);
        for (claimed, status) in [
            (&b""[..], 200),
            // An address that may read metrics, and is not a proxy.
            (b"127.0.0.9", 200),
            (b"203.0.113.9", 403),
            (b"\xff", 403),
            (b"unknown", 403),
            (b"127.0.0.1:4711", 200),
            (b"127.0.0.1:99999", 403),
        ] {
            let mut request = app.as_anonymous().plain(Method::GET, &metrics);
            if !claimed.is_empty() {
                let value = HeaderValue::from_bytes(claimed).unwrap();
                request = request.header("x-forwarded-for", value);
            }
            let answer = send(request).await;
            assert_eq!(answer.status, status, "{}", claimed.escape_ascii());
        }
    }

    // Wrong keys of unknown clients share one limit, which is not that of the proxy.
    let mut app = app;
    let limited = [
        ("http.trusted_proxies", "127.0.0.1"),
        ("http.rate_limit_per_minute", "1000"),
    ];
    let limited = app.add_api(&limited).await;
    let remaining = async |claimed: Option<&[u8]>| -> u64 {
        let client = app.as_anonymous().at(&limited);
        let mut request = client.request(Method::GET, "");
        if let Some(claimed) = claimed {
            let value = HeaderValue::from_bytes(claimed).unwrap();
            request = request.header("x-forwarded-for", value);
        }
        let answer = send(request).await;
        assert_eq!(answer.status, 401);
        answer.header("x-ratelimit-remaining").parse().unwrap()
    };
    assert_eq!(remaining(None).await, 999);
    assert_eq!(remaining(Some(b"\xff")).await, 999);
    assert_eq!(remaining(Some(b"unknown")).await, 998);
    assert_eq!(remaining(None).await, 998);
    assert_eq!(remaining(Some(b"203.0.113.9:4711")).await, 999);
    assert_eq!(remaining(Some(b"\"203.0.113.9:4712\"")).await, 998);

    // A key with an address list: the port does not matter, and nobody is not in the list.
    let token = app.as_owner().token().unwrap().to_owned();
    let allow = "UPDATE api_keys SET allowed_ips = '{203.0.113.0/24}'";
    app.sql().query(allow).await;
    let base_url = app.base_url.clone();
    for (claimed, status) in [
        (&b"203.0.113.9:4711"[..], 200),
        (b"[2001:db8::1]:4711", 403),
        (b"\xff", 403),
        (b"203.0.113.9, unknown", 403),
    ] {
        let client = app.as_anonymous().at(&base_url).with_token(&token);
        let value = HeaderValue::from_bytes(claimed).unwrap();
        let request = client
            .request(Method::GET, "")
            .header("x-forwarded-for", value);
        let answer = send(request).await;
        assert_eq!(answer.status, status, "{}", claimed.escape_ascii());
        if claimed == b"\xff" {
            let body: Value = answer.json();
            let detail = body["errors"][0]["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains("(unknown)"), "{detail}");
        }
    }
    app.stop().await;
}
