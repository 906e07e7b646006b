//! What the client does when a service refuses requests for now, sends it elsewhere, or is none.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::Terminal;
use crate::support::app::App;
use crate::support::files;
use crate::support::proxy::{Fault, Proxy};

/// A server that answers requests from a list, and keeps their heads.
struct Scripted {
    url: String,
    heads: Arc<Mutex<Vec<String>>>,
    running: JoinHandle<()>,
}

impl Scripted {
    /// `answer` gets the number of a request, from 0, and its first line. It returns a status, a
    /// header and a body.
    async fn start(answer: impl Fn(usize, &str) -> (u16, String, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        let running = tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let number = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(head.to_lowercase());
                    seen.len() - 1
                };
                let (status, header, body) = answer(number, head.lines().next().unwrap());
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status} x\r\nConnection: close\r\n{header}\
                     Content-Length: {length}\r\n\r\n{body}"
                );
                client.write_all(answer.as_bytes()).await.unwrap();
                client.shutdown().await.unwrap();
            }
        });
        Self {
            url,
            heads,
            running,
        }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// A user of a service that does not exist.
fn terminal(url: &str) -> Terminal {
    Terminal {
        url: url.to_owned(),
        key: "ptlc_abcdefghijk_this_is_the_secret_of_the_test".to_owned(),
        server: "d3aac109-e5a0-4331-b03e-3454f7e136dc".to_owned(),
        home: files::scratch(),
    }
}

const EMPTY: &str = r#"{"object":"list","data":[],"meta":{"pagination":{"total_pages":1}}}"#;

fn json(body: &str) -> (u16, String, String) {
    let header = "Content-Type: application/json\r\n".to_owned();
    (200, header, body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_refused_for_now_is_repeated() {
    let slow = r#"{"errors":[{"detail":"Too many requests, please slow down."}]}"#;
    let service = Scripted::start(move |number, _| match number {
        0 => (429, "Retry-After: 1\r\n".into(), slow.into()),
        1 => (503, "Retry-After: 0\r\n".into(), slow.into()),
        _ => json(EMPTY),
    })
    .await;
    let ended = terminal(&service.url).run(&["servers"]);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(0), "(none)\n"),
        "{ended:?}"
    );
    let told: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(
        told,
        [
            "Too many requests, please slow down.; trying again in 1 s",
            "Too many requests, please slow down.; trying again in 0 s"
        ]
    );
    assert_eq!(service.heads().len(), 3);

    // Not for ever, and not for a wait of an hour or a limit that no time lifts soon.
    for (status, header, requests) in [
        (503, "Retry-After: 0\r\n", 5),
        (429, "Retry-After: 3600\r\n", 1),
        (429, "", 1),
    ] {
        let service = Scripted::start(move |_, _| (status, header.into(), slow.into())).await;
        let ended = terminal(&service.url).run(&["servers"]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(
            ended
                .stderr
                .ends_with("holdfast: Too many requests, please slow down.\n")
        );
        assert_eq!(service.heads().len(), requests, "{status} {header}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_goes_only_to_the_service() {
    let bytes = "the archive";
    let hash = files::sha256(bytes.as_bytes());
    let bucket = Scripted::start(move |_, line| match line.contains("/moved") {
        true => (200, String::new(), bytes.to_owned()),
        false => (
            302,
            "Location: /moved?signature=abc\r\n".into(),
            String::new(),
        ),
    })
    .await;
    let link = format!("{}/archive?signature=secret-signature", bucket.url);
    let service = Scripted::start(move |_, line| {
        if line.contains("/download") {
            return json(&format!(r#"{{"attributes":{{"url":"{link}"}}}}"#));
        }
        json(&format!(
            r#"{{"attributes":{{"uuid":"0b1f0000-0000-4000-8000-000000000000","name":"n",
                "status":"completed","bytes":11,"sha256_hash":"{hash}"}}}}"#
        ))
    })
    .await;
    let user = terminal(&service.url);
    let backup = "0b1f0000-0000-4000-8000-000000000000";
    let ended = user.run(&["download", "SERVER", backup, "-o", "x.tar.gz"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let file = user.home.path().join("x.tar.gz");
    assert_eq!(fs_err::read_to_string(file).unwrap(), bytes);
    let heads = bucket.heads();
    assert_eq!(heads.len(), 2, "{heads:?}");
    for head in &heads {
        assert!(
            !head.contains("authorization") && !head.contains("ptlc_"),
            "{head}"
        );
        assert!(!head.contains("referer"), "{head}");
    }
    assert!(
        service
            .heads()
            .iter()
            .all(|head| head.contains("authorization: bearer ptlc_"))
    );

    // A link is a secret as well: no error shows it.
    drop(bucket);
    let refused = user.run(&["download", "SERVER", backup, "-o", "y.tar.gz"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(!refused.stderr.contains("signature"), "{refused:?}");

    // A redirect of the API is not followed.
    let elsewhere = Scripted::start(|_, _| json(EMPTY)).await;
    let location = format!("Location: {}/\r\n", elsewhere.url);
    let service = Scripted::start(move |_, _| (302, location.clone(), String::new())).await;
    let refused = terminal(&service.url).failure(&["servers"]);
    assert!(
        refused.contains("status 302: is this the URL of a Holdfast service?"),
        "{refused}"
    );
    assert!(elsewhere.heads().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_something_else_is_named() {
    for body in ["<html>", "[]", "{}", r#"{"data":7}"#] {
        let service = Scripted::start(move |_, _| (200, String::new(), body.to_owned())).await;
        let refused = terminal(&service.url).failure(&["servers"]);
        assert!(
            refused.contains("is this the URL of a Holdfast service?"),
            "{body}: {refused}"
        );
    }
    // A UUID becomes a part of file names.
    let object = r#"{"attributes":{"uuid":"../x","name":"n","status":"completed","bytes":0}}"#;
    let service = Scripted::start(move |_, _| json(object)).await;
    let refused = terminal(&service.url).failure(&["download", "SERVER", "latest"]);
    assert!(refused.contains("an object without a UUID"), "{refused}");
    let service = Scripted::start(|_, _| (502, String::new(), "<html>".to_owned())).await;
    let refused = terminal(&service.url).failure(&["servers"]);
    assert!(refused.contains("answered with status 502"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_outlives_a_service_that_is_away_for_a_moment() {
    let app = App::start().await;
    files::write(&app.directory.join("a"), b"a");
    let to = app
        .base_url
        .strip_prefix("http://")
        .unwrap()
        .parse()
        .unwrap();
    let proxy = Proxy::start(to, |_, _| Fault::None).await;
    let cut = Mutex::new(0);
    proxy.plan(move |_, head| {
        let mut cut = cut.lock().unwrap();
        let is_look = head.starts_with("GET ") && head.contains("/backups/");
        match is_look && *cut < 1 {
            true => {
                *cut += 1;
                Fault::CutAnswer(10)
            }
            false => Fault::None,
        }
    });
    let user = Terminal::at(&app, &proxy.endpoint());
    let ended = user.run(&["create", "SERVER", "--wait"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.stderr.contains("; the work goes on, looking again"),
        "{ended:?}"
    );
    app.stop().await;
}
