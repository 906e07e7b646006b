//! Callers with the panel's own keys and sessions: the panel decides what they may do.

mod answers;
mod attacks;
mod cache;
mod links;
mod matrix;
mod secrecy;
mod sessions;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::stand_ins::panel::client_api::{AskedRequest, ClientApiState};
use crate::stand_ins::panel::{PanelServer, PanelStandIn};
use crate::stand_ins::{Flavour, NodeKey};
use crate::support::app::{App, Setting};
use crate::support::client::{Client, send};
use crate::support::{eventually, files};

/// A service and the panel that decides about its callers. Both have the same server.
struct World {
    app: App,
    panel: PanelStandIn,
    server: Uuid,
}

impl World {
    /// Starts both, without a worker.
    async fn start(settings: &[Setting<'_>]) -> Self {
        let panel = PanelStandIn::start(Flavour::Pterodactyl, &NodeKey::random());
        let url = panel.url();
        let mut all = vec![("auth.panel.url", url.as_str())];
        all.extend(settings);
        let app = App::without_worker(&all).await;
        let server = app.server.id.0;
        let world = Self { app, panel, server };
        world.add_to_panel(server);
        // As the panel's node registers it: without an owner here.
        let of_wings = format!(
            "UPDATE servers SET managed_by = 'wings', panel = '{url}', no_default_schedule = true,
                    owner_id = '00000000-0000-0000-0000-000000000000' WHERE id = '{server}'"
        );
        world.app.sql().query(&of_wings).await;
        world
    }

    /// Adds a server to the panel, with the users `owner`, `admin`, `subuser` and `stranger`.
    fn add_to_panel(&self, server: Uuid) {
        let made = self.panel.add_server();
        self.panel.change(|state| {
            let row = state.servers.remove(&made).unwrap();
            let row = PanelServer {
                uuid: server,
                ..row
            };
            state.servers.insert(server, row);
        });
        self.client_api(|api| {
            for name in ["owner", "subuser", "stranger", "admin"] {
                api.add_user(name, name == "admin");
            }
            let users = api.servers.entry(server).or_default();
            users.owner = "owner".to_owned();
            users.backup_limit = Some(10);
        });
    }

    fn client_api<T>(&self, change: impl FnOnce(&mut ClientApiState) -> T) -> T {
        self.panel.change(|state| change(&mut state.client_api))
    }

    /// A caller with a new key of a user of the panel.
    fn with_key_of(&self, user: &str) -> Client {
        let key = self.client_api(|api| api.add_key(user));
        self.app.as_anonymous().with_token(&key)
    }

    /// The subuser with these permissions and a new key.
    fn subuser(&self, permissions: &[&str]) -> Client {
        self.permit(permissions);
        self.with_key_of("subuser")
    }

    /// Gives the subuser these permissions, and no others.
    fn permit(&self, permissions: &[&str]) {
        let permissions = permissions.iter().map(|text| (*text).to_owned()).collect();
        let server = self.server;
        self.client_api(|api| {
            let users = api.servers.get_mut(&server).unwrap();
            users.subusers.insert("subuser".to_owned(), permissions);
        });
    }

    /// The requests to the client API of the panel so far.
    fn asked(&self) -> Vec<AskedRequest> {
        self.client_api(|api| api.asked.clone())
    }

    async fn stop(self) {
        drop(self.panel);
        self.app.stop().await;
    }
}

/// Status and error code of a refusal.
async fn refusal(request: RequestBuilder) -> (u16, String) {
    let answer = send(request).await;
    let (status, code, _) = answer.refusal();
    (status, code)
}

fn list(client: &Client) -> RequestBuilder {
    client.request(Method::GET, "")
}

fn create(client: &Client) -> RequestBuilder {
    client.request(Method::POST, "").json(&json!({}))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_in_the_panel_makes_downloads_restores_and_deletes_backups() {
    let mut world = World::start(&[]).await;
    world.app.add_worker(&[]);
    files::make_server(&world.app.directory);
    let before = files::tree(&world.app.directory);
    let server = world.server;
    world.client_api(|api| api.servers.get_mut(&server).unwrap().backup_limit = Some(1));
    let owner = world.with_key_of("owner");
    let backup = owner.create(json!({ "name": "By the panel" })).await.uuid();
    let completed = eventually("the backup is completed", async || {
        let backup = owner.show(&backup).await.attributes();
        (backup["status"] == "completed").then_some(backup)
    })
    .await;
    assert_eq!(completed["name"], "By the panel");
    assert_eq!(owner.list("").await.json()["meta"]["backup_count"], 1);
    // The panel's limit counts, and not the ten of the settings.
    let refused = owner.create(json!({})).await.refusal();
    assert_eq!(
        (refused.0, refused.1.as_str()),
        (400, "TooManyBackupsException")
    );

    let link = owner.download(&backup).await.link();
    let archive = send(world.app.as_anonymous().plain(Method::GET, &link)).await;
    assert_eq!(
        (archive.status, archive.bytes.len() as u64),
        (200, completed["bytes"].as_u64().unwrap())
    );

    fs_err::write(world.app.directory.join("server.properties"), "broken").unwrap();
    let restored = owner.restore(&backup, json!({ "truncate": true })).await;
    // The answers are those of a panel.
    assert_eq!(restored.status, 204, "{}", restored.json());
    eventually("the restore has ended", async || {
        let restore = owner.show(&backup).await.attributes()["restore"].clone();
        (restore["status"] == "completed").then_some(())
    })
    .await;
    assert_eq!(files::tree(&world.app.directory), before);

    // Nobody here has made it, and the log says who: the panel, by which key.
    let sql = world.app.sql();
    let made_by = format!("SELECT created_by FROM backups WHERE id = '{backup}'");
    assert_eq!(sql.query(&made_by).await, [[None]]);
    assert_eq!(owner.delete(&backup).await.status, 204);
    let key = owner.token().unwrap();
    let log = "SELECT event, actor_id, actor_email, key_identifier, address FROM activity \
               WHERE actor_email IS NOT NULL ORDER BY id";
    let rows = sql.query(log).await;
    let events: Vec<&str> = rows.iter().map(|row| row[0].as_deref().unwrap()).collect();
    let expected =
        ["start", "download", "restore", "delete"].map(|event| format!("server:backup.{event}"));
    assert_eq!(events, expected);
    for row in &rows {
        let who: Vec<Option<&str>> = row[1..].iter().map(Option::as_deref).collect();
        assert_eq!(
            who,
            [None, Some("panel"), Some(&key[..16]), Some("127.0.0.1")]
        );
    }
    let shown = format!(
        "{}/api/client/servers/{server}/activity",
        world.app.base_url
    );
    let shown: Value = send(owner.plain(Method::GET, &shown)).await.json();
    let newest = &shown["data"][0]["attributes"];
    assert_eq!(newest["actor"], json!({ "uuid": null, "email": "panel" }));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_the_panel_mean_nothing_where_no_panel_is_set() {
    let world = World::start(&[]).await;
    let owner = world.with_key_of("owner");
    assert_eq!(send(list(&owner)).await.status, 200);
    let app = App::without_worker(&[]).await;
    let server = app.server.id.to_string();
    let elsewhere = owner.at(&app.base_url).about(&server);
    assert_eq!(send(list(&elsewhere)).await.status, 401);
    app.stop().await;
    world.stop().await;
}
