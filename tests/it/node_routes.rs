//! The routes of a panel's node, which Wings answers otherwise: the panel's requests are sent as
//! the panel sends them, and what it is told afterwards is read from the outbox.

mod creating;
mod deleting;
mod downloading;
mod elsewhere;
mod restoring;

use std::path::{Path, PathBuf};

use chrono::Utc;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::app::{App, Setting};
use crate::support::client::{Answer, Client, send};
use crate::support::{eventually, files};

/// The secret of the node.
const TOKEN: &str = "the-secret-of-this-node-which-shows-nowhere-else-0123456789";

/// The URL of the panel, at which nothing answers.
const PANEL: &str = "http://127.0.0.1:1";

/// A node of a panel, with the service in place of its Wings. No panel answers.
struct Node {
    app: App,
    folder: tempfile::TempDir,
    url: String,
}

impl Node {
    /// Starts API and worker.
    async fn start() -> Self {
        let mut node = Self::without_worker(&[]).await;
        node.app.add_worker(&[]);
        node
    }

    /// Starts the API with some settings changed.
    async fn without_worker(changed: &[Setting<'_>]) -> Self {
        let folder = files::scratch();
        fs_err::create_dir(folder.path().join("volumes")).unwrap();
        let config = write_config(folder.path());
        let mut settings = vec![
            ("wings.config", config.to_str().unwrap()),
            ("power.driver", "none"),
        ];
        settings.extend_from_slice(changed);
        let app = App::without_worker(&settings).await;
        let url = app.base_url.clone();
        Self { app, folder, url }
    }

    /// Makes the directory of a new server, which the service does not know yet.
    fn new_server(&self) -> (String, PathBuf) {
        let server = Uuid::new_v4().to_string();
        let directory = self.directory(&server);
        fs_err::create_dir(&directory).unwrap();
        files::make_server(&directory);
        (server, directory)
    }

    fn directory(&self, server: &str) -> PathBuf {
        self.folder.path().join("volumes").join(server)
    }

    /// Sends a request as the panel does.
    async fn send(&self, method: Method, path: &str, body: Value) -> Answer {
        self.send_with(TOKEN, method, path, body).await
    }

    async fn send_with(&self, token: &str, method: Method, path: &str, body: Value) -> Answer {
        let client = Client::new(&self.url, "", Some(token.to_owned()));
        let mut request = client.plain(method, &format!("{}/api/servers/{path}", self.url));
        if !body.is_null() {
            request = request.json(&body);
        }
        send(request).await
    }

    /// Requests a backup under a new UUID.
    async fn create(&self, server: &str) -> String {
        let backup = Uuid::new_v4().to_string();
        let answer = self.create_as(server, &backup).await;
        assert_eq!((answer.status, answer.bytes.len()), (202, 0));
        backup
    }

    async fn create_as(&self, server: &str, backup: &str) -> Answer {
        let body = json!({ "adapter": "wings", "uuid": backup, "ignore": "" });
        self.send(Method::POST, &format!("{server}/backup"), body)
            .await
    }

    async fn restore(&self, server: &str, backup: &str) -> Answer {
        let path = format!("{server}/backup/{backup}/restore");
        let body = json!({ "adapter": "wings", "truncate_directory": true, "download_url": "" });
        self.send(Method::POST, &path, body).await
    }

    async fn delete(&self, server: &str, backup: &str) -> Answer {
        let path = format!("{server}/backup/{backup}");
        self.send(Method::DELETE, &path, Value::Null).await
    }

    /// Waits until the panel is to be told so many things of a backup, or of its restores. Returns
    /// all of them, in order.
    async fn reports(&self, backup: &str, count: usize) -> Vec<(String, Value)> {
        let reports = eventually("the reports are written", async || {
            let reports = self.reports_now(backup).await;
            (reports.len() >= count).then_some(reports)
        });
        let reports = reports.await;
        assert_eq!(reports.len(), count, "{reports:?}");
        reports
    }

    async fn reports_now(&self, backup: &str) -> Vec<(String, Value)> {
        let select = format!(
            "SELECT kind, body FROM panel_callbacks WHERE backup_id = '{backup}' ORDER BY id"
        );
        let rows = self.app.sql().query(&select).await;
        let report = |row: &Vec<Option<String>>| {
            let body = serde_json::from_str(row[1].as_deref().unwrap()).unwrap();
            (row[0].clone().unwrap(), body)
        };
        rows.iter().map(report).collect()
    }

    /// A backup of a new server, which has completed.
    async fn completed(&self) -> (String, PathBuf, String) {
        let (server, directory) = self.new_server();
        let backup = self.create(&server).await;
        let reports = self.reports(&backup, 1).await;
        assert_eq!(reports[0].1["successful"], true, "{reports:?}");
        (server, directory, backup)
    }

    /// The archive of a backup on the local disk.
    fn archive(&self, server: &str, backup: &str) -> PathBuf {
        let folder = self.app.disk.join("servers").join(server);
        match folder.exists() {
            true => folder.join(format!("{backup}.tar.gz")),
            false => self.app.disk.join(server).join(format!("{backup}.tar.gz")),
        }
    }

    /// Waits until a backup is gone, with its archive.
    async fn gone(&self, server: &str, backup: &str) {
        eventually("the backup is deleted", async || {
            let select = format!("SELECT count(*) FROM backups WHERE id = '{backup}'");
            (self.app.sql().number(&select).await == 0).then_some(())
        })
        .await;
        assert!(!self.archive(server, backup).exists());
    }

    fn link(&self, token: &str) -> String {
        format!("{}/download/backup?token={token}", self.url)
    }

    async fn stop(self) {
        self.app.stop().await;
    }
}

/// Writes the settings file of Wings.
fn write_config(folder: &Path) -> PathBuf {
    let config = folder.join("config.yml");
    let volumes = folder.join("volumes");
    let text = format!(
        "uuid: 7d3f2c1a-aaaa-4bbb-8ccc-123456789abc\ntoken_id: abcdefghijklmnop\ntoken: {TOKEN}\n\
         api:\n  host: 127.0.0.1\n  port: 1\nsystem:\n  data: {}\nremote: {PANEL}\n",
        volumes.display()
    );
    fs_err::write(&config, text).unwrap();
    config
}

/// The error of an answer in the form of Wings.
fn refusal(answer: &Answer) -> (u16, String) {
    let body = answer.json();
    let fields = body.as_object().unwrap();
    assert_eq!(fields.len(), 1, "{body}");
    assert_eq!(answer.header("content-type"), "application/json");
    (answer.status, body["error"].as_str().unwrap().to_owned())
}

/// The claims of a download link, as Pterodactyl's panel makes them.
fn claims(server: &str, backup: &str) -> Value {
    let now = Utc::now().timestamp_micros() as f64 / 1_000_000.0;
    json!({
        "iss": "https://panel.example.com", "aud": ["https://node.example.com:8080"],
        "jti": "6a0e0aefcd9d0e7b", "iat": now, "nbf": now - 300.0, "exp": now + 900.0,
        "user_uuid": "d3aac109-45e1-4c23-9a84-c8d5f06b93a1", "unique_id": "Sv2F6LnxCpX3qYkz",
        "server_uuid": server, "backup_uuid": backup,
    })
}

fn sign(secret: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}
