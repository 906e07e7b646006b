//! `holdfast demo`: backs up, downloads, damages and restores a small server, and prints each step.
//!
//! Nothing is simulated: it runs Postgres, the API over HTTP and a worker on real files. It fails
//! at the first step whose result is wrong.

mod client;
mod files;
mod transcript;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::{Value, json};

use holdfast_db::Database;

use self::client::Client;
use self::files::FileState;
use self::transcript::Transcript;
use super::admin::{self, AdminCommand};
use crate::error::CommandError;
use crate::settings::Settings;
use crate::{data, database, service, shutdown};

/// How long a backup or a restore may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(120);
/// Slow enough for the default rate limit of 240 requests per minute.
const POLL_INTERVAL: Duration = Duration::from_millis(300);
/// The mode of the temporary folder.
const FOLDER_MODE: u32 = 0o711;
/// The email address of the user that the demo creates.
const EMAIL: &str = "owner@example.com";

pub(super) async fn run(keep: bool) -> Result<(), CommandError> {
    let transcript = Transcript::begin();
    let folder = tempfile::Builder::new()
        .prefix("holdfast-demo-")
        // The user of the private PostgreSQL passes through it. No other user can list it.
        .permissions(std::fs::Permissions::from_mode(FOLDER_MODE))
        .tempdir()?;
    // The umask may have removed bits.
    fs_err::set_permissions(folder.path(), std::fs::Permissions::from_mode(FOLDER_MODE))?;
    let data = data::prepare(&folder.path().join("data"))?;
    let settings = demo_settings(&data)?;
    super::init_telemetry(&settings)?;

    transcript.heading("Starting a private PostgreSQL, the API and a worker");
    transcript.print(&format!("in {}", folder.path().display()));
    let (database, postgres) = database::connect_or_start(&settings, &data, false).await?;
    let demo = Demo {
        transcript,
        settings,
        database,
        folder: folder.path().to_owned(),
    };
    let outcome = tokio::select! {
        outcome = demo.run_service(&data, keep) => outcome,
        stop = shutdown::requested() => stop.and_then(|()| Err(CommandError::new("interrupted"))),
    };
    service::close(&demo.database).await;
    if let Some(postgres) = postgres {
        postgres.stop().await?;
    }
    outcome?;
    folder.close()?;
    demo.transcript.finish()
}

/// Returns the default settings with a free port, and a log of problems only.
fn demo_settings(data: &Path) -> Result<Settings, CommandError> {
    let environment = [
        ("HOLDFAST__HTTP__LISTEN", "127.0.0.1:0"),
        ("HOLDFAST__LOG__FILTER", "warn"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(Settings::load(&[], environment, data)?)
}

/// The parts that all steps of the demo use.
struct Demo {
    transcript: Transcript,
    settings: Settings,
    database: Database,
    /// The temporary folder of the demo.
    folder: PathBuf,
}

/// The user's access to the server of the demo.
struct Access {
    client: Client,
    key: String,
}

/// The completed backup of the demo.
struct DemoBackup {
    uuid: String,
    sha256: String,
    archive_bytes: u64,
}

/// The duration of each measured step, in seconds.
struct Durations {
    backup: f64,
    download: f64,
    restore: f64,
}

impl Demo {
    /// Starts the service, performs all steps, and stops the service.
    async fn run_service(&self, data: &Path, keep: bool) -> Result<(), CommandError> {
        let (settings, database) = (&self.settings, &self.database);
        holdfast_db::migrate(database).await?;
        let disks = service::open_disks(settings, database).await?;
        let metrics = service::ProcessMetrics::default();
        let listener = service::listen(settings)?;
        let url = format!("http://{}", listener.local_addr()?);
        let api = service::start_api(
            settings,
            data,
            database.clone(),
            disks.clone(),
            &metrics,
            listener,
        )
        .await?;
        let worker = service::start_worker(settings, database.clone(), disks, &metrics);

        let outcome = self.run_steps_and_wait(&url, keep).await;
        let worker = worker.stop().await;
        let api = api.stop().await;
        outcome.and(worker).and(api)
    }

    async fn run_steps_and_wait(&self, url: &str, keep: bool) -> Result<(), CommandError> {
        let key = self.run_steps(url).await?;
        if keep {
            let transcript = &self.transcript;
            transcript.heading("Left running, as you asked; Ctrl-C ends it and removes everything");
            transcript.print(&format!("URL  {url}"));
            transcript.print(&format!("key  {key}"));
            transcript.finish()?;
            shutdown::requested().await?;
        }
        Ok(())
    }

    /// Performs all steps, and returns the API key that they used.
    async fn run_steps(&self, url: &str) -> Result<String, CommandError> {
        self.transcript.print(&format!("answers at {url}"));
        let directory = self.folder.join("server");
        let before = self.create_server_directory(&directory)?;
        let Access { client, key } = self.register_server(url, &directory).await?;
        let (backup, backup_seconds) = self.create_backup(&client).await?;
        let download_seconds = self.download_backup(&client, &backup).await?;
        self.damage_server(&directory, &before)?;
        let restore_seconds = self.restore_backup(&client, &backup).await?;
        let restored = self.compare_with_original(&directory, before)?;
        let durations = Durations {
            backup: backup_seconds,
            download: download_seconds,
            restore: restore_seconds,
        };
        self.print_figures(&restored, &backup, &durations);
        self.transcript.heading("Every step held");
        Ok(key)
    }

    fn create_server_directory(
        &self,
        directory: &Path,
    ) -> Result<BTreeMap<PathBuf, FileState>, CommandError> {
        self.transcript.heading("A game server's directory");
        files::create(directory)?;
        let files = files::scan(directory)?;
        let source_bytes = files.values().map(|file| file.size_bytes).sum();
        self.transcript.print(&format!(
            "{}: {} entries, {}",
            directory.display(),
            files.len(),
            transcript::bytes(source_bytes)
        ));
        Ok(files)
    }

    /// Creates a user, an API key and the server.
    async fn register_server(&self, url: &str, directory: &Path) -> Result<Access, CommandError> {
        self.transcript.heading("Registering it");
        self.admin(&["user", "create", "--email", EMAIL]).await?;
        let key = self.admin(&["key", "create", "--user", EMAIL]).await?;
        let key = string_field(&key, "token")?;
        let directory = directory.to_string_lossy();
        let server = self
            .admin(&[
                "server", "create", "--owner", EMAIL, "--name", "Demo", "--dir", &directory,
            ])
            .await?;
        let client = Client::new(url, &key, &string_field(&server, "identifier")?)?;
        Ok(Access { client, key })
    }

    async fn create_backup(&self, client: &Client) -> Result<(DemoBackup, f64), CommandError> {
        let transcript = &self.transcript;
        transcript.heading("Creating a backup");
        let begun = Instant::now();
        let body = json!({ "name": "Before the update", "ignored": files::IGNORED });
        let created = client.post(transcript, "", Some(body)).await?;
        let uuid = string_field(&created["attributes"], "uuid")?;
        let completed = self
            .wait_for(client, &uuid, "backup", |attributes| attributes)
            .await?;
        let seconds = begun.elapsed().as_secs_f64();
        transcript.response(200, &completed);
        let attributes = &completed["attributes"];
        let backup = DemoBackup {
            uuid,
            sha256: string_field(attributes, "sha256_hash")?,
            archive_bytes: attributes["bytes"].as_u64().unwrap_or(0),
        };
        Ok((backup, seconds))
    }

    async fn download_backup(
        &self,
        client: &Client,
        backup: &DemoBackup,
    ) -> Result<f64, CommandError> {
        let transcript = &self.transcript;
        transcript.heading("Downloading it, with a link that needs no key");
        let path = format!("/{}/download", backup.uuid);
        let link = client.get(transcript, &path).await?;
        let link = string_field(&link["attributes"], "url")?;
        let begun = Instant::now();
        let file = self.folder.join("backup.tar.gz");
        let (received_bytes, sha256) = client.download(transcript, &link, &file).await?;
        let seconds = begun.elapsed().as_secs_f64();
        transcript.check(
            "its size is what the API says",
            received_bytes == backup.archive_bytes,
        )?;
        transcript.check("its SHA-256 is what the API says", sha256 == backup.sha256)?;
        Ok(seconds)
    }

    fn damage_server(
        &self,
        directory: &Path,
        before: &BTreeMap<PathBuf, FileState>,
    ) -> Result<(), CommandError> {
        self.transcript.heading("Damaging the server");
        files::damage(directory, &self.transcript)?;
        let damaged = files::scan(directory)?;
        self.transcript
            .check("the directory is not what it was", damaged != *before)
    }

    async fn restore_backup(
        &self,
        client: &Client,
        backup: &DemoBackup,
    ) -> Result<f64, CommandError> {
        self.transcript.heading("Restoring the backup");
        let begun = Instant::now();
        let path = format!("/{}/restore", backup.uuid);
        let body = json!({ "truncate": true });
        client.post(&self.transcript, &path, Some(body)).await?;
        self.wait_for(
            client,
            &backup.uuid,
            "restore",
            |attributes| &attributes["restore"],
        )
        .await?;
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Checks that the directory has its original files, except for the ignored ones. Returns them.
    fn compare_with_original(
        &self,
        directory: &Path,
        before: BTreeMap<PathBuf, FileState>,
    ) -> Result<BTreeMap<PathBuf, FileState>, CommandError> {
        let transcript = &self.transcript;
        transcript.heading("Comparing every name, type, mode, time and byte");
        let mut expected = before;
        expected.retain(|path, _| !files::is_ignored(path));
        let after = files::scan(directory)?;
        for difference in files::differences(&expected, &after).iter().take(10) {
            transcript.print(difference);
        }
        transcript.check(
            "the server is what it was, without what the patterns left out",
            after == expected,
        )?;
        Ok(expected)
    }

    fn print_figures(
        &self,
        restored: &BTreeMap<PathBuf, FileState>,
        backup: &DemoBackup,
        durations: &Durations,
    ) {
        let files = restored.values().filter(|file| file.is_file()).count();
        let entries = restored.len();
        let file_bytes = transcript::bytes(restored.values().map(|file| file.size_bytes).sum());
        let archive_bytes = transcript::bytes(backup.archive_bytes);
        let sha256 = &backup.sha256;
        let Durations {
            backup,
            download,
            restore,
        } = durations;
        self.transcript.heading("Figures");
        for line in [
            format!("files      {files} of {entries} entries, {file_bytes}"),
            format!("archive    {archive_bytes}"),
            format!("sha256     {sha256}"),
            format!("backup     {backup:.2} s, waiting for the worker included"),
            format!("download   {download:.2} s"),
            format!("restore    {restore:.2} s, waiting for the worker included"),
        ] {
            self.transcript.print(&line);
        }
    }

    /// Runs an admin command, given as on the command line.
    async fn admin(&self, arguments: &[&str]) -> Result<Value, CommandError> {
        #[derive(Parser)]
        struct CommandLine {
            #[command(subcommand)]
            command: AdminCommand,
        }
        self.transcript.command(&format!(
            "holdfast admin {} --json",
            transcript::shell_words(arguments)
        ));
        let line = CommandLine::try_parse_from(["admin"].iter().chain(arguments))
            .map_err(|error| CommandError::new(error.to_string()))?;
        let outcome = admin::execute(&self.settings, &self.database, line.command).await?;
        let result = outcome.result().await?;
        self.transcript.json(&result);
        Ok(result)
    }

    /// Polls a backup and shows its progress until a job has ended: the `backup` or a `restore`.
    /// `job` selects the object with its `status` and `error` from the backup's attributes. Returns
    /// the last response.
    async fn wait_for(
        &self,
        client: &Client,
        backup: &str,
        noun: &str,
        job: impl Fn(&Value) -> &Value,
    ) -> Result<Value, CommandError> {
        let deadline = Instant::now() + STEP_TIMEOUT;
        let path = format!("/{backup}");
        self.transcript
            .request("GET", &client.url(&path), "   (again and again)");
        loop {
            let response = client.get_silently(&path).await?;
            let attributes = &response["attributes"];
            self.transcript.progress(&attributes["progress"]);
            let job = job(attributes);
            match job["status"].as_str() {
                Some("completed") => {
                    self.transcript.end_progress();
                    return Ok(response);
                }
                Some("failed") => {
                    self.transcript.end_progress();
                    let error = &job["error"];
                    return Err(CommandError::new(format!("the {noun} failed: {error}")));
                }
                _ => {}
            }
            if Instant::now() > deadline {
                return Err(CommandError::new(format!(
                    "the {noun} did not end within {} s: {response}",
                    STEP_TIMEOUT.as_secs()
                )));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

fn string_field(object: &Value, field: &str) -> Result<String, CommandError> {
    object[field]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| CommandError::new(format!("the response has no `{field}`: {object}")))
}
