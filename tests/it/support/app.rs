//! The service inside this process: API on a free port, real disk, real database, real worker.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use chrono::Utc;
use serde_json::{Value, json};
use uuid::Uuid;

use holdfast_cli::service::{self, ProcessMetrics, ServiceTask};
use holdfast_cli::settings::Settings;
use holdfast_db::Database;
use holdfast_domain::key::{ApiKey, KeyKind, KeyToken};
use holdfast_domain::server::ServerLimits;
use holdfast_domain::{
    DirectorySetBy, NodeName, Permission, Profile, Server, ServerId, ServerState, UserId,
};
use holdfast_storage::{ArchiveKey, Disks, StorageKey};
use holdfast_worker::WorkerOptions;

use super::client::Client;
use super::database::TestDatabase;
use super::{eventually, files, fixtures};

/// A setting that a test changes, such as `("limits.backups_per_server", "1")`.
pub(crate) type Setting<'a> = (&'a str, &'a str);

/// A running service with one server, whose owner, an administrator and a stranger have keys.
pub(crate) struct App {
    pub(crate) database: Database,
    /// The same database, past the service.
    pub(crate) raw: Option<TestDatabase>,
    /// The server's record.
    pub(crate) server: Server,
    /// The server's directory.
    pub(crate) directory: PathBuf,
    /// The folder of the disk `local`.
    pub(crate) disk: PathBuf,
    pub(crate) base_url: String,
    owner: Client,
    admin: Client,
    stranger: Client,
    parts: Vec<ServiceTask>,
    counts: ProcessMetrics,
    /// Metrics are counted for the whole process.
    disks: Disks,
    data: tempfile::TempDir,
    pairs: Vec<(String, String)>,
}

impl App {
    /// Starts API and worker on the defaults.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts API and worker with some settings changed.
    pub(crate) async fn start_with(changed: &[Setting<'_>]) -> Self {
        let mut app = Self::without_worker(changed).await;
        app.add_worker(&[]);
        app
    }

    /// Starts only the API, so that jobs wait.
    pub(crate) async fn without_worker(changed: &[Setting<'_>]) -> Self {
        let data = files::scratch();
        let directory = data.path().join("server");
        fs_err::create_dir(&directory).unwrap();
        let raw = TestDatabase::create().await;
        let mut pairs = vec![
            variable(&("http.listen", "127.0.0.1:0")),
            variable(&("database.url", &raw.url())),
            variable(&("database.max_connections", "6")),
            // Tests poll more often than users.
            variable(&("http.rate_limit_per_minute", "0")),
            // Backups would yield to the other tests, and take five times as long.
            variable(&("worker.nice", "0")),
            variable(&("worker.io_class", "none")),
            variable(&("worker.yield_above_percent", "0")),
        ];
        pairs.extend(changed.iter().map(variable));
        let settings = Settings::load(&[], pairs.clone(), data.path()).unwrap();

        let database = holdfast_cli::database::connect(&settings, data.path())
            .await
            .unwrap();
        let listener = service::listen(&settings).unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let disks = service::disks(&settings, &BTreeSet::new()).unwrap();
        let counts = ProcessMetrics::default();
        let data_folder = data.path();
        let api = service::start_api(
            &settings,
            data_folder,
            database.clone(),
            disks.clone(),
            &counts,
            listener,
        )
        .await
        .unwrap();

        let owner = make_user(&database, "owner@example.com", false).await;
        let server = make_server(&database, owner, &directory).await;
        let new_client = async |user, profile| {
            let token = make_key(&database, user, KeyKind::Client, profile).await;
            Client::new(&base_url, &server.id.to_string(), Some(token))
        };
        let admin = make_user(&database, "admin@example.com", true).await;
        let stranger = make_user(&database, "stranger@example.com", false).await;
        Self {
            owner: new_client(owner, Profile::Documented).await,
            admin: new_client(admin, Profile::Documented).await,
            stranger: new_client(stranger, Profile::Documented).await,
            disk: data.path().join("backups"),
            raw: Some(raw),
            parts: vec![api],
            counts,
            disks,
            database,
            server,
            directory,
            base_url,
            data,
            pairs,
        }
    }

    /// Starts one more worker, with some settings changed for it only.
    pub(crate) fn add_worker(&mut self, changed: &[Setting<'_>]) {
        self.add_worker_with(changed, |_| ());
    }

    /// Starts one more worker, with some settings and options changed for it only.
    pub(crate) fn add_worker_with(
        &mut self,
        changed: &[Setting<'_>],
        change: impl FnOnce(&mut WorkerOptions),
    ) {
        let pairs = self.pairs.iter().cloned();
        let pairs = pairs.chain(changed.iter().map(variable));
        let mut settings = Settings::load(&[], pairs, self.data.path()).unwrap();
        change(&mut settings.worker);
        let disks = match changed.iter().any(|(key, _)| key.starts_with("storage.")) {
            true => service::disks(&settings, &BTreeSet::new()).unwrap(),
            false => self.disks.clone(),
        };
        let database = self.database.clone();
        let worker = service::start_worker(&settings, database, disks, &self.counts);
        // Workers stop before the API, as in `holdfast up`.
        self.parts.insert(0, worker);
    }

    /// Starts one more API on the same database, like another process, with some settings changed
    /// for it only. Returns its URL.
    pub(crate) async fn add_api(&mut self, changed: &[Setting<'_>]) -> String {
        let pairs = self.pairs.iter().cloned();
        let pairs = pairs.chain(changed.iter().map(variable));
        let settings = Settings::load(&[], pairs, self.data.path()).unwrap();
        let listener = service::listen(&settings).unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let disks = service::disks(&settings, &BTreeSet::new()).unwrap();
        let data = self.data.path();
        // Another process would have its own metrics.
        let counts = ProcessMetrics::default();
        let database = self.database.clone();
        let api = service::start_api(&settings, data, database, disks, &counts, listener)
            .await
            .unwrap();
        self.parts.push(api);
        base_url
    }

    /// Stops all workers cleanly. The API continues.
    pub(crate) async fn stop_workers(&mut self) {
        while self.parts.len() > 1 {
            self.parts.remove(0).stop().await.unwrap();
        }
    }

    /// Stops everything cleanly and drops the database. Every test ends with this.
    pub(crate) async fn stop(mut self) {
        for part in self.parts.drain(..) {
            part.stop().await.unwrap();
        }
        service::close(&self.database).await;
        if let Some(raw) = self.raw.take() {
            raw.assert_stored_adds_up("at the end").await;
            raw.drop().await;
        }
    }

    pub(crate) fn as_owner(&self) -> Client {
        self.owner.clone()
    }

    pub(crate) fn as_admin(&self) -> Client {
        self.admin.clone()
    }

    /// A caller with a key and no access to the server.
    pub(crate) fn as_stranger(&self) -> Client {
        self.stranger.clone()
    }

    /// A caller without a key.
    pub(crate) fn as_anonymous(&self) -> Client {
        Client::new(&self.base_url, &self.server.id.to_string(), None)
    }

    /// A new subuser of the server with these permissions.
    pub(crate) async fn as_subuser(&self, permissions: &[Permission]) -> Client {
        let email = format!("{}@example.com", Uuid::new_v4());
        let user = make_user(&self.database, &email, false).await;
        fixtures::subuser(&self.database, self.server.id, user, permissions)
            .await
            .unwrap();
        let token = self.key(user, KeyKind::Client, Profile::Documented).await;
        self.owner.with_token(&token)
    }

    /// The owner, with a key of the profile `pterodactyl`.
    pub(crate) async fn as_pterodactyl(&self) -> Client {
        let owner = self.owner_id();
        let token = self.key(owner, KeyKind::Client, Profile::Pterodactyl).await;
        self.owner.with_token(&token)
    }

    /// The user who owns the server.
    pub(crate) fn owner_id(&self) -> UserId {
        self.server.owner.unwrap()
    }

    /// Creates a key.
    pub(crate) async fn key(&self, user: UserId, kind: KeyKind, profile: Profile) -> String {
        make_key(&self.database, user, kind, profile).await
    }

    /// The database, past the service.
    pub(crate) fn sql(&self) -> &TestDatabase {
        self.raw.as_ref().unwrap()
    }

    /// Registers one more server of the owner. Its directory does not exist unless the test creates
    /// it.
    pub(crate) async fn another_server(&self, name: &str) -> Server {
        let directory = self.data.path().join(name);
        make_server(&self.database, self.owner_id(), &directory).await
    }

    /// Stores the server's record.
    pub(crate) async fn save_server(&self) {
        fixtures::server(&self.database, &self.server)
            .await
            .unwrap();
    }

    /// The database, as the service uses it.
    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// The URL of a path that does not belong to a server, such as `/readyz`.
    pub(crate) fn base_url_of(&self, path: &str) -> String {
        format!("{}{path}", self.base_url)
    }

    /// A folder for files of the test beside the service.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.data.path().join(name)
    }

    /// Creates a backup as the owner and waits until it is completed.
    pub(crate) async fn backup(&self) -> String {
        let uuid = self.as_owner().create(json!({})).await.uuid();
        let backup = self.ended(&uuid).await;
        assert_eq!(backup["status"], "completed", "{backup}");
        uuid
    }

    /// Creates a backup that fails, because its server's directory is missing.
    pub(crate) async fn failed_backup(&self) -> String {
        let hidden = self.data.path().join("hidden");
        fs_err::rename(&self.directory, &hidden).unwrap();
        let uuid = self.as_owner().create(json!({})).await.uuid();
        let backup = self.ended(&uuid).await;
        assert_eq!(backup["status"], "failed", "{backup}");
        fs_err::rename(&hidden, &self.directory).unwrap();
        uuid
    }

    /// Waits until a backup is no longer being created, and returns its attributes.
    pub(crate) async fn ended(&self, uuid: &str) -> Value {
        let owner = self.as_owner();
        eventually("the backup has ended", async || {
            let backup = owner.show(uuid).await.attributes();
            (backup["status"] != "creating").then_some(backup)
        })
        .await
    }

    /// Waits until the latest restore of a backup has ended, and returns its state.
    pub(crate) async fn restored(&self, uuid: &str) -> Value {
        let owner = self.as_owner();
        eventually("the restore has ended", async || {
            let restore = owner.show(uuid).await.attributes()["restore"].clone();
            let ended = restore["status"] == "completed" || restore["status"] == "failed";
            ended.then_some(restore)
        })
        .await
    }

    /// The path of the archive of a backup's first attempt.
    pub(crate) fn archive(&self, uuid: &str) -> PathBuf {
        let key = ArchiveKey {
            server: self.server.id,
            backup: holdfast_domain::BackupId::parse(uuid).unwrap(),
            attempt: 1,
        };
        self.disk.join(StorageKey::Archive(key).path())
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let forgotten = self.raw.is_some() && !std::thread::panicking();
        assert!(!forgotten, "the test has to end with `app.stop().await`");
    }
}

/// Turns a setting into the environment variable that sets it.
pub(crate) fn variable((key, value): &Setting<'_>) -> (String, String) {
    let name = format!("HOLDFAST__{}", key.to_uppercase().replace('.', "__"));
    (name, (*value).to_owned())
}

async fn make_user(database: &Database, email: &str, is_admin: bool) -> UserId {
    let id = UserId(Uuid::new_v4());
    fixtures::user(database, id, email, is_admin).await.unwrap();
    id
}

async fn make_key(database: &Database, user: UserId, kind: KeyKind, profile: Profile) -> String {
    let mut random = [0; 43];
    rand::fill(&mut random);
    let token = KeyToken::generate(kind, &random);
    let key = ApiKey {
        identifier: token.identifier().clone(),
        user,
        kind,
        profile,
        secret_hash: token.secret_hash(),
        description: String::new(),
        allowed_ips: Vec::new(),
        expires_at: None,
        created_at: Utc::now(),
    };
    fixtures::key(database, &key).await.unwrap();
    token.reveal()
}

async fn make_server(database: &Database, owner: UserId, directory: &Path) -> Server {
    let server = Server {
        id: ServerId(Uuid::new_v4()),
        owner: Some(owner),
        name: "Survival".to_owned(),
        directory: directory.to_owned(),
        node: NodeName::parse("local").unwrap(),
        directory_set_by: DirectorySetBy::Admin,
        disk: None,
        state: ServerState::Normal,
        limits: ServerLimits::default(),
        created_at: Utc::now(),
        managed_by: None,
        absent_since: None,
    };
    fixtures::server(database, &server).await.unwrap();
    server
}
