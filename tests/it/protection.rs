//! Protection of the service: headers for browsers on every answer, limits for clients that are
//! slow or send too much, and a signing key that can be changed.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::app::App;
use crate::support::client::{Answer, send};
use crate::support::files;

/// The headers of every answer.
const ALWAYS: [(&str, &str); 3] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_the_headers_that_protect_browsers() {
    let app = App::start().await;
    files::make_server(&app.directory);
    let uuid = app.backup().await;
    let owner = app.as_owner();
    let link = owner.download(&uuid).await.link();
    let get = async |path: &str| send(owner.plain(Method::GET, &app.base_url_of(path))).await;
    let nothing = "default-src 'none'; frame-ancestors 'none'";
    let answers: [(&str, Answer, u16, &str); 9] = [
        ("list", owner.list("").await, 200, "no-store"),
        ("link", owner.download(&uuid).await, 200, "no-store"),
        ("no key", app.as_anonymous().list("").await, 401, "no-store"),
        ("no path", get("/nowhere").await, 404, "no-store"),
        (
            "no method",
            send(owner.request(Method::PATCH, "")).await,
            405,
            "no-store",
        ),
        (
            "invalid",
            owner.create(json!({ "name": 1 })).await,
            422,
            "no-store",
        ),
        (
            "archive",
            send(owner.plain(Method::GET, &link)).await,
            200,
            "private, no-store, no-transform",
        ),
        (
            "no archive",
            get("/download/backup?token=x").await,
            403,
            "no-store",
        ),
        ("health", get("/healthz").await, 200, "no-store"),
    ];
    for (what, answer, status, cached) in answers {
        assert_eq!(answer.status, status, "{what}");
        for (name, value) in ALWAYS {
            assert_eq!(answer.header(name), value, "{what}: {name}");
        }
        assert_eq!(answer.header("content-security-policy"), nothing, "{what}");
        assert_eq!(answer.header("cache-control"), cached, "{what}");
        assert_eq!(answer.header("strict-transport-security"), "", "{what}");
    }
    // The page may run its own scripts, but none inside its text.
    let page = get("/api/docs/index.html").await;
    let policy = page.header("content-security-policy");
    assert!(policy.contains("script-src 'self';"), "{policy}");
    let html = String::from_utf8(page.bytes).unwrap();
    for script in html.split("<script").skip(1) {
        let (attributes, rest) = script.split_once('>').unwrap();
        let text = rest.split("</script").next().unwrap().trim();
        assert!(attributes.contains("src=") && text.is_empty(), "{script}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hsts_is_sent_only_if_a_trusted_proxy_reports_tls() {
    let mut app = App::without_worker(&[("http.hsts_seconds", "31536000")]).await;
    let behind = [
        ("http.hsts_seconds", "31536000"),
        ("http.trusted_proxies", "127.0.0.1"),
    ];
    let behind = app.add_api(&behind).await;
    for (api, scheme, expected) in [
        (behind.as_str(), "https", "max-age=31536000"),
        (behind.as_str(), "http", ""),
        (app.base_url.as_str(), "https", ""),
    ] {
        let request = app
            .as_anonymous()
            .plain(Method::GET, &format!("{api}/healthz"));
        let answer = send(request.header("X-Forwarded-Proto", scheme)).await;
        assert_eq!(
            answer.header("strict-transport-security"),
            expected,
            "{api} {scheme}"
        );
    }
    app.stop().await;
}

/// Sends the bytes of a client, and reads until the service closes the connection.
async fn until_hung_up(app: &App, said: &[u8]) -> String {
    let address = app.base_url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The service may close the connection before it has read everything.
    let _all = stream.write_all(said).await;
    let mut heard = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut heard));
    let _reset = read.await.expect("the service never hangs up");
    String::from_utf8_lossy(&heard).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_slow_or_send_too_much_are_closed() {
    let app = App::without_worker(&[
        ("http.request_timeout_seconds", "1"),
        ("http.keep_alive_seconds", "1"),
    ])
    .await;
    // A head that never ends, and a connection without a request.
    until_hung_up(&app, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ").await;
    until_hung_up(&app, b"").await;
    let kept = until_hung_up(&app, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(kept.starts_with("HTTP/1.1 200"), "{kept}");

    // A body that never ends.
    let key = app.as_owner().token().unwrap().to_owned();
    let server = app.server.id;
    let post = format!(
        "POST /api/client/servers/{server}/backups HTTP/1.1\r\nHost: x\r\n\
         Authorization: Bearer {key}\r\nContent-Length: 100\r\n\r\n{{"
    );
    let heard = until_hung_up(&app, post.as_bytes()).await;
    assert!(heard.starts_with("HTTP/1.1 408"), "{heard}");
    assert!(heard.contains("RequestTimeoutHttpException"), "{heard}");
    assert_eq!(app.sql().number("SELECT count(*) FROM backups").await, 0);

    // A head without an end.
    let mut large = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Large: ".to_vec();
    large.resize(1 << 20, b'x');
    let heard = until_hung_up(&app, &large).await;
    assert!(!heard.starts_with("HTTP/1.1 200"), "{heard}");

    // Other clients are not affected.
    assert_eq!(app.as_owner().list("").await.status, 200);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_of_a_previous_signing_key_stay_valid_and_new_links_use_the_newest() {
    let (old, new) = (
        "the-key-of-yesterday-has-32-bytes",
        "the-key-of-today-has-32-bytes-too",
    );
    let mut app = App::start_with(&[("auth.signing_key", old)]).await;
    files::make_server(&app.directory);
    let uuid = app.backup().await;
    let owner = app.as_owner();
    let keys = app.beside("earlier-keys");
    fs_err::write(&keys, format!("another-key-that-has-32-bytes-xxx\n{old}\n")).unwrap();
    let rotated = app
        .add_api(&[
            ("auth.signing_key", new),
            ("auth.previous_signing_keys_file", keys.to_str().unwrap()),
        ])
        .await;
    let done = app.add_api(&[("auth.signing_key", new)]).await;
    let first = app.base_url.clone();
    let yesterday = owner.download(&uuid).await.link();
    let today = owner.at(&rotated).download(&uuid).await.link();
    for (api, link, status) in [
        (&rotated, &yesterday, 200),
        (&rotated, &today, 200),
        (&done, &today, 200),
        (&done, &yesterday, 403),
        (&first, &today, 403),
    ] {
        let (_, token) = link.split_once("/download/").unwrap();
        let request = app
            .as_anonymous()
            .plain(Method::GET, &format!("{api}/download/{token}"));
        assert_eq!(send(request).await.status, status, "{link} at {api}");
    }
    app.stop().await;
}

/// Sends a request on a connection that stays open, and reads the head of the answer.
async fn ask(stream: &mut TcpStream) -> String {
    let asked = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(asked).await.unwrap();
    heard(stream).await
}

async fn heard(stream: &mut TcpStream) -> String {
    let mut bytes = [0; 4096];
    let read = tokio::time::timeout(Duration::from_secs(60), stream.read(&mut bytes));
    let length = read.await.expect("the service says nothing").unwrap();
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_wait_for_a_free_place() {
    let app = App::without_worker(&[
        ("http.max_connections", "16"),
        ("http.keep_alive_seconds", "300"),
        ("http.request_timeout_seconds", "300"),
    ])
    .await;
    // Each thread has an equal share of the limit, rounded up.
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let address = app.base_url.strip_prefix("http://").unwrap();
    let mut held = Vec::new();
    for _ in 0..16_usize.div_ceil(threads) * threads {
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert!(ask(&mut stream).await.starts_with("HTTP/1.1 200"));
        held.push(stream);
    }
    let mut next = TcpStream::connect(address).await.unwrap();
    let asked = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    next.write_all(asked).await.unwrap();
    // The held connections are served meanwhile, one after the other, so there was time for this
    // one, too.
    for stream in &mut held {
        assert!(ask(stream).await.starts_with("HTTP/1.1 200"));
    }
    let early = tokio::time::timeout(Duration::from_millis(300), next.readable()).await;
    assert!(early.is_err(), "one more was taken");
    drop(held.pop());
    assert!(heard(&mut next).await.starts_with("HTTP/1.1 200"));
    drop((held, next));
    app.stop().await;
}
