//! `GET /download/backup?token=…` with tokens of the panel.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Node, TOKEN, claims, refusal, sign};
use crate::support::client::{Answer, Client, send};
use crate::support::files;

impl Node {
    /// Follows a link, without following redirects.
    pub(super) async fn get(&self, link: &str) -> Answer {
        self.fetch(Method::GET, link, None).await
    }

    async fn fetch(&self, method: Method, link: &str, range: Option<&str>) -> Answer {
        let http = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        let mut request = http.request(method, link);
        if let Some(range) = range {
            request = request.header("range", range);
        }
        send(request).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_of_the_panel_can_be_used_and_resumed_until_it_expires() {
    let node = Node::start().await;
    let (server, _, backup) = node.completed().await;
    let archive = fs_err::read(node.archive(&server, &backup)).unwrap();
    let link = node.link(&sign(TOKEN, &claims(&server, &backup)));
    for _ in 0..2 {
        let answer = node.get(&link).await;
        assert_eq!((answer.status, &answer.bytes), (200, &archive));
        assert_eq!(answer.header("accept-ranges"), "bytes");
        let name = format!("attachment; filename=\"{backup}.tar.gz\"");
        assert_eq!(answer.header("content-disposition"), name);
    }
    let rest = node.fetch(Method::GET, &link, Some("bytes=100-")).await;
    assert_eq!((rest.status, &rest.bytes[..]), (206, &archive[100..]));
    let head = node.fetch(Method::HEAD, &link, None).await;
    assert_eq!((head.status, head.bytes.len()), (200, 0));
    assert_eq!(head.header("content-length"), archive.len().to_string());
    let after = node
        .fetch(Method::GET, &link, Some("bytes=99999999-"))
        .await;
    assert_eq!(after.status, 416);
    // Pelican's tokens have a scope.
    let mut scoped = claims(&server, &backup);
    scoped["scope"] = json!("backup-download");
    assert_eq!(
        node.get(&node.link(&sign(TOKEN, &scoped))).await.bytes,
        archive
    );
    // Links of this service work beside them.
    let admin = node.app.as_admin().about(&server);
    let own = admin.download(&backup).await.link();
    assert_eq!(node.get(&own).await.bytes, archive);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_other_token_is_answered_like_a_missing_backup() {
    let node = Node::start().await;
    let (server, _, backup) = node.completed().await;
    let valid = claims(&server, &backup);
    let with = |field: &str, value: Value| {
        let mut claims = valid.clone();
        claims[field] = value;
        sign(TOKEN, &claims)
    };
    let good = sign(TOKEN, &valid);
    let parts: Vec<&str> = good.split('.').collect();
    let now = valid["iat"].as_f64().unwrap();
    let another = Uuid::new_v4().to_string();
    for (what, token) in [
        ("another node's", sign("the secret of another node", &valid)),
        ("unsigned", format!("eyJhbGciOiJub25lIn0.{}.", parts[1])),
        ("without a signature", format!("{}.{}", parts[0], parts[1])),
        ("expired", with("exp", json!(now - 1.0))),
        ("from the future", with("nbf", json!(now + 3600.0))),
        ("of another scope", with("scope", json!("file-upload"))),
        ("for a missing backup", with("backup_uuid", json!(another))),
        ("for another server", with("server_uuid", json!(another))),
        ("with a path", with("server_uuid", json!("../../etc"))),
        ("no token", "x".to_owned()),
        ("empty", String::new()),
    ] {
        let answer = node.get(&node.link(&token)).await;
        let (status, text) = refusal(&answer);
        assert_eq!(status, 404, "{what}");
        assert!(
            !text.contains(&server) && !text.contains("expired"),
            "{what}: {text}"
        );
    }
    let bare = format!("{}/download/backup", node.url);
    assert_eq!(refusal(&node.get(&bare).await).0, 404);
    // A link of this service keeps its own errors.
    let own = node
        .app
        .as_admin()
        .about(&server)
        .download(&backup)
        .await
        .link();
    let (head, _) = own.rsplit_once('.').unwrap();
    let answer = node.get(&format!("{head}.AAAA")).await;
    assert_eq!(answer.refusal().1, "InvalidDownloadTokenException");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_of_its_own_answers_only_the_panel() {
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap()
    };
    let listen = port.to_string();
    let mut node = Node::without_worker(&[("wings.listen", &listen)]).await;
    node.app.add_worker(&[]);
    let service = std::mem::replace(&mut node.url, format!("http://{listen}"));
    let (server, _, backup) = node.completed().await;
    let archive = fs_err::read(node.archive(&server, &backup)).unwrap();
    let token = sign(TOKEN, &claims(&server, &backup));
    assert_eq!(node.get(&node.link(&token)).await.bytes, archive);

    // The service's address has none of this.
    let at_service = |path: &str| format!("{service}{path}");
    let answer = node
        .get(&at_service(&format!("/download/backup?token={token}")))
        .await;
    assert_eq!(answer.refusal().1, "InvalidDownloadTokenException");
    let client = Client::new(&service, "", Some(TOKEN.to_owned()));
    let path = format!("/api/servers/{server}/backup/{backup}");
    let answer = send(client.plain(Method::DELETE, &at_service(&path))).await;
    assert_eq!(answer.refusal().1, "NotFoundHttpException");
    // Nor has the panel's address anything of the service.
    let own = node
        .app
        .as_admin()
        .about(&server)
        .download(&backup)
        .await
        .link();
    let (_, query) = own.split_once('?').unwrap();
    let at_panel = |path: &str| format!("{}{path}", node.url);
    for path in [
        format!("/download/backup?{query}"),
        format!("/api/client/servers/{server}/backups"),
        "/api/application/servers".to_owned(),
        "/metrics".to_owned(),
        "/".to_owned(),
    ] {
        let admin = node.app.as_admin();
        let answer = send(admin.plain(Method::GET, &at_panel(&path))).await;
        assert_eq!(refusal(&answer).0, 404, "{path}");
    }
    assert_eq!(node.get(&at_panel("/healthz")).await.status, 200);
    assert!(
        files::files_below(&node.app.disk)
            .iter()
            .any(|name| name.contains(&backup))
    );
    node.stop().await;
}
