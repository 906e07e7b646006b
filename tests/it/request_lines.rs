//! Requests that a proxy and the service could read differently are refused, over a raw socket. So
//! no request can hide in another one.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::app::App;

/// Sends bytes in pieces of this length, and reads all answers until the service closes the
/// connection.
async fn answers(app: &App, bytes: &[u8], piece: usize) -> String {
    let address = app.base_url.strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let read = async {
        let mut answers = Vec::new();
        let reading = reader.read_to_end(&mut answers);
        let limit = Duration::from_secs(30);
        let ended = tokio::time::timeout(limit, reading).await;
        ended.expect("the connection is closed").unwrap_or_default();
        String::from_utf8_lossy(&answers).into_owned()
    };
    let write = async {
        for piece in bytes.chunks(piece) {
            // The service may have closed the connection already.
            if writer.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        // Not closed for writing: only the service ends the connection.
        writer
    };
    let (answers, _writer) = tokio::join!(read, write);
    answers
}

/// The statuses of all answers.
fn statuses(answers: &str) -> Vec<&str> {
    let lines = answers.split("HTTP/1.1 ").skip(1);
    lines.map(|line| line.get(..3).unwrap_or(line)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_can_be_read_in_two_ways_are_refused_and_end_the_connection() {
    let app = App::without_worker(&[]).await;
    let key = app.as_owner().token().unwrap().to_owned();
    let server = format!("/api/client/servers/{}/backups", app.server.id);
    let host = app.base_url.strip_prefix("http://").unwrap();
    let get =
        format!("GET {server} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\r\n");
    let post = |headers: &str, body: &str| {
        format!(
            "POST {server} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n{headers}\r\n\
             {body}"
        )
    };
    let with = |header: &str| get.replacen("\r\n\r\n", &format!("\r\n{header}\r\n\r\n"), 1);
    let line = format!("GET {server} HTTP/1.1");
    let own = format!("Host: {host}");
    let next = with("Connection: close");
    let cases = [
        // Each answer has status 400, and nothing after it is a request.
        get.replace("\r\n", "\n"),
        get.replacen("\r\n", "\n", 1),
        get.replacen("\r\nAuthorization", "\nAuthorization", 1),
        get.replacen("\r\n\r\n", "\r\n\n", 1),
        get.replacen("\r\n\r\n", "\n\r\n", 1),
        format!("\n{get}"),
        with("X: a\nY: b"),
        with("X: a\rY: b"),
        with("X: a\r\n b"),
        with("X: a\0"),
        with("X : a"),
        with(" X: a"),
        with("X"),
        with(&own),
        with("Host: other.example"),
        with("Transfer-Encoding: chunked\r\nContent-Length: 0"),
        with("Transfer-Encoding: gzip, chunked"),
        with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        with("Transfer-Encoding:\x0bchunked"),
        with("Content-Length: 0\r\nContent-Length: 0"),
        with("Content-Length: 0, 0"),
        with("Content-Length: +0"),
        with("Content-Length: 0x0"),
        with("Transfer-Encoding: chunked").replacen("1.1", "1.0", 1),
        get.replacen(&format!("{own}\r\n"), "", 1),
        get.replacen(&line, &format!("GET\t{server} HTTP/1.1"), 1),
        get.replacen(&line, &format!("GET {server} HTTP/1.1 "), 1),
        // The URL names another host than `Host`.
        get.replacen(
            &line,
            &format!("GET http://other.example{server} HTTP/1.1"),
            1,
        ),
        get.replacen(&line, &format!("GET http://{host}1{server} HTTP/1.1"), 1),
        // What is no host.
        get.replacen(&own, "Host: a b", 1),
        get.replacen(&own, "Host: a/b", 1),
        get.replacen(&own, "Host: user@a", 1),
        get.replacen(&own, "Host: <script>", 1),
        get.replacen(&own, "Host: a:99999", 1),
        get.replacen(&own, "Host: \u{e9}", 1),
    ];
    for case in cases {
        let shown = case.escape_debug();
        for piece in [case.len() + next.len(), 7] {
            let answers = answers(&app, format!("{case}{next}").as_bytes(), piece).await;
            let found = statuses(&answers);
            // Where a request ends is clear if only its host is refused.
            match answers.contains("\"errors\"") {
                true => assert_eq!(found, ["400", "200"], "{shown}: {answers}"),
                false => assert_eq!(found, ["400"], "{shown}: {answers}"),
            }
        }
    }

    // Lines around the chunks of a body. The service may close the connection without an answer.
    for body in [
        "2\n{}\r\n0\r\n\r\n",
        "2\r\n{}\n0\r\n\r\n",
        "2\r\n{}\r\n0\n\r\n",
        "2\r\n{}\r\n0\r\n\n",
        "2\r\n{}\r\n0\r\nX: a\nY: b\r\n\r\n",
        "2\r\n{}\r\n0\r\nX: a\n\r\n",
        "2;x=\ny\r\n{}\r\n0\r\n\r\n",
    ] {
        let case = post("Transfer-Encoding: chunked\r\n", body);
        for piece in [case.len() + next.len(), 7] {
            let answers = answers(&app, format!("{case}{next}").as_bytes(), piece).await;
            let found = statuses(&answers);
            let is_refused = found.is_empty() || found == ["400"];
            assert!(is_refused, "{}: {answers}", body.escape_debug());
        }
    }
    assert_eq!(app.sql().number("SELECT count(*) FROM backups").await, 0);

    // A request with two keys is not authenticated.
    let twice = with(&format!("Authorization: Bearer {key}\r\nConnection: close"));
    assert_eq!(
        statuses(&answers(&app, twice.as_bytes(), 4096).await),
        ["401"]
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_with_any_lines_and_requests_in_one_packet_are_answered() {
    let app = App::without_worker(&[("limits.backups_per_server", "100")]).await;
    let key = app.as_owner().token().unwrap().to_owned();
    let server = format!("/api/client/servers/{}/backups", app.server.id);
    let request = |start: &str, headers: &str, body: &str| {
        format!(
            "{start} HTTP/1.1\r\nHost: A.\r\nAuthorization: Bearer {key}\r\n{headers}\r\n{body}"
        )
    };
    let post = format!("POST {server}");
    let renamed = |name: &str| {
        json!({ "name": name })
            .to_string()
            .replace(':', ":\n\n\r\n\n")
    };
    let chunked = |text: &str| {
        let (first, second) = text.split_at(9);
        let (first_size, second_size) = (first.len(), second.len());
        format!("{first_size:x}\r\n{first}\r\n{second_size:X};x=y\r\n{second}\r\n0\r\nT: x\r\n\r\n")
    };
    let (one, two) = (renamed("one"), renamed("two"));
    // The first creates a backup; the next ones find it unfinished.
    let mut bytes = request(&post, &format!("Content-Length: {}\r\n", one.len()), &one);
    bytes.push_str("\r\n");
    bytes.push_str(&request(
        &post,
        "Transfer-Encoding: chunked\r\n",
        &chunked(&two),
    ));
    bytes.push_str(&request(&format!("GET http://a{server}"), "", ""));
    bytes.push_str(&request(
        &post,
        &format!("Content-Length: {}\r\n", two.len()),
        &two,
    ));
    bytes.push_str(&request(
        &format!("GET {server}"),
        "Connection: close\r\n",
        "",
    ));
    for piece in [bytes.len(), 1, 100] {
        app.sql()
            .query("DELETE FROM jobs; DELETE FROM backups")
            .await;
        let answers = answers(&app, bytes.as_bytes(), piece).await;
        let expected = ["200", "409", "200", "409", "200"];
        assert_eq!(statuses(&answers), expected, "{piece}: {answers}");
        assert!(answers.contains(r#""name":"one""#), "{answers}");
    }
    app.stop().await;
}
