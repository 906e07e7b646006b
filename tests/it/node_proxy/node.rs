//! A node: the real nginx with `deploy/nginx/node.conf`, and stand-ins for what is around it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::json;
use uuid::Uuid;

use crate::stand_ins::faults::FaultSwitch;
use crate::stand_ins::panel::{NewBackup, PanelStandIn};
use crate::stand_ins::serving::Serving;
use crate::stand_ins::wings::WingsStandIn;
use crate::stand_ins::{Flavour, NodeKey};
use crate::support::nginx::Nginx;
use crate::support::{eventually, files};

/// A request that reached Holdfast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) token: String,
    pub(super) body: String,
}

/// What Holdfast answers, and what it was asked.
#[derive(Clone, Debug, Default)]
struct Answers {
    status: u16,
    asked: Vec<Asked>,
}

/// A node: nginx, Wings, a panel, and in Holdfast's place a server that answers as it is told.
pub(super) struct Node {
    pub(super) nginx: Nginx,
    pub(super) wings: WingsStandIn,
    pub(super) panel: PanelStandIn,
    pub(super) holdfast: Serving,
    answers: Arc<Mutex<Answers>>,
    pub(super) client: Client,
    pub(super) key: NodeKey,
    pub(super) server: Uuid,
    _folder: tempfile::TempDir,
}

impl Node {
    pub(super) async fn start(flavour: Flavour) -> Option<Self> {
        let folder = files::scratch();
        let key = NodeKey::random();
        let panel = PanelStandIn::start(flavour, &key);
        let wings = WingsStandIn::start(flavour, &key, &panel.url(), folder.path());
        let answers = Arc::new(Mutex::new(Answers::default()));
        let holdfast = start_holdfast(&answers);
        let at = |url: String| url.strip_prefix("http://").unwrap().to_owned();
        let (behind, backups) = (at(wings.url()), wings.backup_directory().to_owned());
        let address = holdfast.address();
        let nginx = Nginx::start_http("root", |listen| {
            node_conf(listen, &behind, address, &backups)
        });
        let nginx = nginx.await?;
        panel.set_node_url(0, &nginx.url);
        let server = panel.add_server();
        wings.add_server(server);
        Some(Self {
            nginx,
            wings,
            panel,
            holdfast,
            answers,
            client: Client::builder().no_proxy().build().unwrap(),
            key,
            server,
            _folder: folder,
        })
    }

    /// Sets the status of Holdfast's answers, and forgets what it was asked.
    pub(super) fn holdfast_answers(&self, status: u16) {
        *self.answers.lock().unwrap() = Answers {
            status,
            asked: Vec::new(),
        };
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.answers.lock().unwrap().asked.clone()
    }

    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.nginx.url);
        self.client
            .request(method, url)
            .bearer_auth(&self.key.token)
    }

    /// The paths and statuses of the requests that reached Wings.
    pub(super) fn reached_wings(&self) -> Vec<(String, u16)> {
        let calls = self.wings.calls().into_iter();
        calls.map(|call| (call.path, call.status)).collect()
    }

    /// A backup that Wings made before Holdfast came.
    pub(super) async fn old_backup(&self) -> Uuid {
        self.panel.set_node_url(0, &self.wings.url());
        let new = NewBackup::default();
        let backup = self.panel.create_backup(self.server, new).await.unwrap();
        self.panel.set_node_url(0, &self.nginx.url);
        eventually("Wings has made it", async || {
            let backup = self.panel.backup(backup).unwrap();
            backup.completed_at.map(|_| assert!(backup.is_successful))
        })
        .await;
        backup
    }
}

fn start_holdfast(answers: &Arc<Mutex<Answers>>) -> Serving {
    let answers = web::Data::from(Arc::clone(answers));
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Serving::start(any, FaultSwitch::default(), move |config| {
        config.app_data(answers.clone());
        config.default_service(web::to(
            |answers: web::Data<Mutex<Answers>>, request: HttpRequest, body: String| async move {
                let mut answers = answers.lock().unwrap();
                let token = request.headers().get("authorization");
                answers.asked.push(Asked {
                    method: request.method().to_string(),
                    path: request.uri().to_string(),
                    token: token.map_or("", |token| token.to_str().unwrap()).to_owned(),
                    body,
                });
                let status = StatusCode::from_u16(answers.status).unwrap();
                HttpResponse::build(status).json(json!({"error": "from Holdfast"}))
            },
        ));
    })
}

/// The file unchanged, except for addresses, the certificate and the folder of archives.
pub(super) fn node_conf(
    listen: SocketAddr,
    wings: &str,
    holdfast: SocketAddr,
    backups: &Path,
) -> String {
    let mut text = include_str!("../../../deploy/nginx/node.conf").to_owned();
    for (old, new) in [
        ("listen 8080 ssl;", format!("listen {listen};")),
        ("listen [::]:8080 ssl;", String::new()),
        (
            "ssl_certificate /etc/letsencrypt/live/node.example.com/fullchain.pem;",
            String::new(),
        ),
        (
            "ssl_certificate_key /etc/letsencrypt/live/node.example.com/privkey.pem;",
            String::new(),
        ),
        ("server 127.0.0.1:8081;", format!("server {wings};")),
        ("server 127.0.0.1:8082;", format!("server {holdfast};")),
        (
            "/var/lib/pterodactyl/backups",
            backups.display().to_string(),
        ),
        ("/var/lib/pelican/backups", backups.display().to_string()),
    ] {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, &new);
    }
    format!("access_log off; gzip on; gzip_types *; gzip_min_length 1;\n{text}")
}
