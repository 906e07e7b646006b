//! The endpoints under `/api/application`.

mod deletion;
mod directories;
mod keys;
mod operator_views;
mod permissions;
mod servers;
mod users;

use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::Value;

use holdfast_db::users::{User, find_by_email};
use holdfast_domain::Profile;
use holdfast_domain::key::KeyKind;

use crate::support::app::App;
use crate::support::client::{Answer, Client, send};
use crate::support::files;

/// A panel: an administrator's application key.
struct Panel {
    client: Client,
    base_url: String,
}

impl Panel {
    async fn of(app: &App) -> Self {
        let admin = user(app, "admin@example.com").await;
        let token = app
            .key(admin.id, KeyKind::Application, Profile::Documented)
            .await;
        Self::with(app, app.as_admin().with_token(&token))
    }

    fn with(app: &App, client: Client) -> Self {
        Self {
            client,
            base_url: app.base_url.clone(),
        }
    }

    /// Sends a request to a path below `/api/application`.
    async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let url = format!("{}/api/application{path}", self.base_url);
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.client.plain(method, &url);
        send(match body {
            Some(body) => request.json(body),
            None => request,
        })
        .await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask("POST", path, Some(&body)).await
    }

    async fn put(&self, path: &str, body: Value) -> Answer {
        self.ask("PUT", path, Some(&body)).await
    }

    async fn patch(&self, path: &str, body: Value) -> Answer {
        self.ask("PATCH", path, Some(&body)).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, None).await
    }

    /// The attributes of the objects of a list.
    async fn list(&self, path: &str) -> Vec<Value> {
        let answer = self.get(path).await;
        let json = answer.json();
        assert_eq!(answer.status, 200, "{json}");
        let objects = json["data"].as_array().unwrap();
        objects.iter().map(|o| o["attributes"].clone()).collect()
    }
}

async fn user(app: &App, email: &str) -> User {
    find_by_email(&app.database, email).await.unwrap().unwrap()
}

/// The attributes of a created object.
fn made(answer: &Answer) -> Value {
    assert_eq!(answer.status, 201, "{}", answer.json());
    answer.json()["attributes"].clone()
}

/// Field and rule of each violation in a refusal.
fn broken(answer: &Answer) -> Vec<(String, String)> {
    let json = answer.json();
    assert_eq!(answer.status, 422, "{json}");
    let errors = json["errors"].as_array().unwrap().iter();
    errors
        .map(|error| {
            assert_eq!(error["code"], "ValidationException");
            let meta = |name: &str| error["meta"][name].as_str().unwrap().to_owned();
            (meta("source_field"), meta("rule"))
        })
        .collect()
}

/// A service whose servers lie below one root in the folder of the test.
struct Hosting {
    app: App,
    panel: Panel,
    root: PathBuf,
    _folder: tempfile::TempDir,
}

impl Hosting {
    async fn without_worker() -> Self {
        let folder = files::scratch();
        let root = fs_err::canonicalize(folder.path()).unwrap().join("servers");
        fs_err::create_dir(&root).unwrap();
        let app = App::without_worker(&[("worker.roots", &listed(&root))]).await;
        let panel = Panel::of(&app).await;
        Self {
            app,
            panel,
            root,
            _folder: folder,
        }
    }

    async fn start() -> Self {
        let mut hosting = Self::without_worker().await;
        hosting.app.add_worker(&[]);
        hosting
    }

    /// Registers a server of the owner with a directory below the root. Returns its attributes.
    async fn server(&self, name: &str) -> Value {
        let directory = self.root.join(name);
        let server =
            serde_json::json!({ "owner": "owner@example.com", "name": name, "dir": directory });
        made(&self.panel.post("/servers", server).await)
    }

    /// The same, with files. Returns the owner's client for it.
    async fn server_with_files(&self, name: &str) -> (String, Client) {
        files::make_server(&self.root.join(name));
        let uuid = self.server(name).await["uuid"].as_str().unwrap().to_owned();
        let owner = self.app.as_owner().about(&uuid);
        (uuid, owner)
    }
}

/// Formats a folder as a list with one item, as in settings.
fn listed(folder: &Path) -> String {
    folder.to_str().unwrap().to_owned()
}
