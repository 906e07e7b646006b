//! The service beside a panel and Wings: it tells the panel how backups and restores ended, knows
//! the panel's servers, and controls them through Wings.

mod callbacks;
mod power;
mod servers;

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use crate::stand_ins::panel::{NewBackup, PanelBackup, PanelOptions, PanelStandIn};
use crate::stand_ins::wings::WingsStandIn;
use crate::stand_ins::{Flavour, NodeKey};
use crate::support::app::{App, Setting};
use crate::support::{eventually, files};

/// A panel with one node, and the service on that node.
struct Beside {
    app: App,
    panel: PanelStandIn,
    wings: WingsStandIn,
    _folder: tempfile::TempDir,
}

impl Beside {
    async fn start(settings: &[Setting<'_>]) -> Self {
        Self::start_with(Flavour::Pterodactyl, Duration::from_millis(20), settings).await
    }

    /// Starts a panel whose transactions stay open for `commit_after` after the node's answer.
    async fn start_with(
        flavour: Flavour,
        commit_after: Duration,
        settings: &[Setting<'_>],
    ) -> Self {
        let folder = files::scratch();
        let key = NodeKey::random();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let panel = PanelStandIn::start_with(PanelOptions {
            flavour,
            node: key.clone(),
            listen: any,
            control: any,
            state: None,
            commit_after,
        });
        let wings = WingsStandIn::start(flavour, &key, &panel.url(), folder.path());
        let file = folder.path().join("config.yml");
        fs_err::write(&file, wings.settings()).unwrap();
        let mut all = vec![("wings.config", file.to_str().unwrap())];
        all.extend(settings);
        let app = App::start_with(&all).await;
        panel.set_node_url(0, &app.base_url);
        Self {
            app,
            panel,
            wings,
            _folder: folder,
        }
    }

    /// Adds a server to panel and Wings, with files.
    fn add_server(&self) -> Uuid {
        let server = self.panel.add_server();
        self.wings.add_server(server);
        let file = self.wings.directory(server).join("world.dat");
        fs_err::write(file, "a world").unwrap();
        server
    }

    /// Creates a backup as a user of the panel, without waiting for its end.
    async fn create(&self, server: Uuid) -> Uuid {
        let new = NewBackup::default();
        self.panel.create_backup(server, new).await.unwrap()
    }

    /// Waits until the panel knows how a backup ended.
    async fn reported(&self, backup: Uuid) -> PanelBackup {
        eventually("the panel was told", async || {
            self.hurry().await;
            let backup = self.panel.backup(backup)?;
            backup.completed_at.is_some().then_some(backup)
        })
        .await
    }

    /// Waits until a backup is complete here.
    async fn completed(&self, backup: Uuid) {
        let query = format!("SELECT state FROM backups WHERE id = '{backup}'");
        eventually("the backup is complete", async || {
            (self.sql(&query).await == "completed").then_some(())
        })
        .await;
    }

    /// The statuses of the panel's answers about a backup or its restores.
    fn answers(&self, backup: Uuid, is_restore: bool) -> Vec<u16> {
        let all = self.panel.callbacks().into_iter();
        all.filter(|one| one.backup == backup && one.is_restore == is_restore)
            .map(|one| one.status)
            .collect()
    }

    /// The first value of the first row; empty if there is none.
    async fn sql(&self, statement: &str) -> String {
        let rows = holdfast_db::raw(&self.app.database, statement)
            .await
            .unwrap();
        let first = rows
            .into_iter()
            .next()
            .and_then(|row| row.into_iter().next());
        first.flatten().unwrap_or_default()
    }

    async fn waits(&self, condition: &str) {
        let query = format!("SELECT {condition}");
        eventually(condition, async || {
            (self.sql(&query).await == "t").then_some(())
        })
        .await;
    }

    /// Ends the wait of new callbacks for the panel's transaction.
    async fn hurry(&self) {
        let now = "UPDATE panel_callbacks SET next_at = now() WHERE last_error IS NULL";
        self.sql(now).await;
    }

    /// What `/readyz` says about the panel.
    async fn readiness(&self) -> Value {
        let answer = reqwest::get(self.app.base_url_of("/readyz")).await.unwrap();
        assert_eq!(answer.status(), 200, "a panel that is away changes nothing");
        answer.json::<Value>().await.unwrap()["panel"].clone()
    }

    /// The sum of the values of a metric whose line contains `labels`.
    async fn metric(&self, name: &str, labels: &str) -> f64 {
        let answer = reqwest::get(self.app.base_url_of("/metrics"))
            .await
            .unwrap();
        let text = answer.text().await.unwrap();
        let lines = text.lines().filter(|line| line.starts_with(name));
        let lines = lines.filter(|line| line.contains(labels));
        let values = lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
        values.sum()
    }

    async fn stop(self) {
        self.app.stop().await;
    }
}
