//! Request IDs, and where they appear: in answers, in jobs, in log lines of the API and of the
//! worker, and in the spans that a collector receives.

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use holdfast_domain::Profile;
use holdfast_domain::key::KeyKind;

use crate::support::app::App;
use crate::support::client::{Client, send};
use crate::support::process::{Process, holdfast, run};
use crate::support::{eventually, files};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_the_id_of_its_request_or_a_new_one() {
    let app = App::without_worker(&[]).await;
    let ask = async |headers: &[(&str, &str)], path: &str| {
        let mut request = app.as_owner().plain(Method::GET, &app.base_url_of(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        send(request).await.header("x-request-id").to_owned()
    };
    let list = format!("/api/client/servers/{}/backups", app.server.id);
    for path in [
        list.as_str(),
        "/nowhere",
        "/healthz",
        "/api/docs/index.html",
        "/download/backup",
    ] {
        assert_eq!(
            ask(&[("X-Request-Id", "panel-42")], path).await,
            "panel-42",
            "{path}"
        );
        assert_eq!(ask(&[("traceparent", PARENT)], path).await, TRACE, "{path}");
        let both = [("X-Request-Id", "panel-42"), ("traceparent", PARENT)];
        assert_eq!(ask(&both, path).await, "panel-42", "{path}");
    }
    let own = ask(&[], "/healthz").await;
    assert_eq!(own.len(), 32, "{own}");
    assert_ne!(ask(&[], "/healthz").await, own);
    // IDs that could damage or fill a log are not used.
    let long = "x".repeat(65);
    for bad in ["a b", "a\"b", "<script>", "", long.as_str()] {
        let given = ask(
            &[("X-Request-Id", bad), ("traceparent", "00-no-trace-01")],
            &list,
        )
        .await;
        assert_eq!(given.len(), 32, "{bad} became {given}");
    }
    app.stop().await;
}

/// The lines of a JSON log with this message.
fn lines(log: &str, message: &str) -> Vec<Value> {
    let all = log.lines().map(|line| {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    });
    all.filter(|line| line["message"] == message).collect()
}

/// A service of one process with one server, seen from outside.
struct Service {
    process: Process,
    owner: Client,
    _folder: tempfile::TempDir,
}

async fn service(settings: &[(&str, &str)]) -> Service {
    let folder = files::scratch();
    let (data, directory) = (folder.path().join("data"), folder.path().join("server"));
    files::make_server(&directory);
    let (process, url) = Process::up(&data, settings).await;
    let admin = |arguments: &[&str]| {
        let mut command = holdfast(&[]);
        command.args(["admin", "--json", "--data"]).arg(&data);
        run(command.args(arguments)).json()
    };
    let owner = "owner@example.com";
    admin(&["user", "create", "--email", owner, "--admin"]);
    let key = admin(&["key", "create", "--user", owner]);
    let directory = directory.to_str().unwrap();
    let server = [
        "server", "create", "--owner", owner, "--name", "S", "--dir", directory,
    ];
    let server = admin(&server);
    let token = key["token"].as_str().unwrap().to_owned();
    let owner = Client::new(&url, server["uuid"].as_str().unwrap(), Some(token));
    Service {
        process,
        owner,
        _folder: folder,
    }
}

impl Service {
    /// Requests a backup with the request ID `panel-42` as a step of a trace, and waits until it is
    /// completed.
    async fn backup(&self) -> String {
        let request = self.owner.request(Method::POST, "").json(&json!({}));
        let named = request
            .header("X-Request-Id", "panel-42")
            .header("traceparent", PARENT);
        let uuid = send(named).await.uuid();
        eventually("the backup is completed", async || {
            let backup = self.owner.show(&uuid).await.attributes();
            (backup["status"] == "completed").then_some(())
        })
        .await;
        uuid
    }

    async fn stop(&mut self) {
        self.process.signal(Signal::TERM);
        assert!(self.process.ended().await.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jobs_row_and_log_lines_have_the_id_of_its_request() {
    let mut service = service(&[("log.format", "json")]).await;
    service.backup().await;
    service.stop().await;
    let log = service.process.log();
    for message in ["claimed a job", "completed a job"] {
        let found = lines(&log, message);
        assert_eq!(found.len(), 1, "{message} in {log}");
        assert_eq!(found[0]["span"]["name"], "job", "{}", found[0]);
        assert_eq!(found[0]["span"]["request_id"], "panel-42", "{}", found[0]);
    }
    let answered = lines(&log, "answered a request");
    let posted: Vec<&Value> = answered
        .iter()
        .filter(|line| line["method"] == "POST")
        .collect();
    assert_eq!(posted.len(), 1, "{log}");
    assert_eq!(posted[0]["span"]["request_id"], "panel-42");
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_the_request_id_in_the_job() {
    let app = App::without_worker(&[]).await;
    let request = app.as_owner().request(Method::POST, "").json(&json!({}));
    assert_eq!(
        send(request.header("X-Request-Id", "panel-42"))
            .await
            .status,
        200
    );
    let admin = app.sql().query("SELECT id FROM users WHERE is_admin").await[0][0]
        .clone()
        .unwrap();
    let admin = holdfast_domain::UserId(admin.parse().unwrap());
    let key = app
        .key(admin, KeyKind::Application, Profile::Documented)
        .await;
    let operator = app.as_admin().with_token(&key);
    let jobs = operator.plain(Method::GET, &app.base_url_of("/api/application/jobs"));
    let job = send(jobs).await.json()["data"][0]["attributes"].clone();
    assert_eq!(job["request_id"], "panel-42", "{job}");
    app.stop().await;
}

/// A collector that records the path and body of each POST.
async fn collector() -> (String, mpsc::UnboundedReceiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut read = Vec::new();
                while stream
                    .read_buf(&mut read)
                    .await
                    .is_ok_and(|length| length > 0)
                {
                    let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else {
                        continue;
                    };
                    let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
                    let length = head.split("content-length: ").nth(1).unwrap();
                    let length: usize = length.lines().next().unwrap().trim().parse().unwrap();
                    if read.len() < end + 4 + length {
                        continue;
                    }
                    let body = read[end + 4..end + 4 + length].to_vec();
                    let first = head.lines().next().unwrap().to_owned();
                    let _ended = sender.send((first, body));
                    read.drain(..end + 4 + length);
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\n\
                        Content-Length: 0\r\n\r\n";
                    stream.write_all(answer).await.unwrap();
                }
            });
        }
    });
    (format!("http://{address}"), receiver)
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_of_requests_and_their_jobs_reach_a_collector_as_one_trace() {
    let (endpoint, mut posted) = collector().await;
    let mut service = service(&[("log.otlp_endpoint", &endpoint)]).await;
    service.backup().await;
    service.stop().await;
    let mut all = Vec::new();
    while let Ok((first, body)) = posted.try_recv() {
        assert_eq!(first, "post /v1/traces http/1.1");
        all.extend(body);
    }
    let count = |what: &[u8]| all.windows(what.len()).filter(|part| *part == what).count();
    // Protobuf contains texts unchanged, and the ID of a trace as its sixteen bytes.
    assert!(count(b"holdfast") > 0, "the service's name");
    assert!(count(b"panel-42") >= 2, "the request and the job");
    let trace = hex::decode(TRACE).unwrap();
    assert!(count(&trace) >= 2, "the request and the job");
    let step = hex::decode("b7ad6b7169203331").unwrap();
    assert_eq!(
        count(&step),
        1,
        "only the request is a part of the caller's step"
    );
    assert!(!service.process.log().contains("could not be sent"));
}
