//! `holdfast demo`: the main job, end to end, in one go, as a story that a person can follow.
//!
//! Everything is real: Postgres, the API over HTTP, the worker, the files. It
//! fails as soon as one step does not hold.

mod client;
mod files;
mod story;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::{Value, json};

use holdfast_db::Database;

use self::client::Client;
use self::story::Story;
use super::admin::{self, AdminCommand};
use crate::failure::Failure;
use crate::settings::Settings;
use crate::{data, database, service, shutdown};

/// How long one step may take before the demo has failed.
const PATIENCE: Duration = Duration::from_secs(120);
/// Slow enough for the default rate limit of 240 requests in a minute.
const POLL: Duration = Duration::from_millis(300);

pub(super) async fn run(keep: bool) -> Result<(), Failure> {
    let story = Story::begin();
    let folder = tempfile::Builder::new()
        .prefix("holdfast-demo-")
        .tempdir()?;
    let data = data::prepare(&folder.path().join("data"))?;
    // Defaults, but for a port that is surely free; and only problems are logged.
    let environment = [
        ("HOLDFAST__HTTP__LISTEN", "127.0.0.1:0"),
        ("HOLDFAST__LOG__FILTER", "warn"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings = Settings::load(&[], environment, &data)?;
    super::log(&settings)?;

    story.chapter("Starting a private PostgreSQL, the API and a worker");
    story.say(&format!("in {}", folder.path().display()));
    let (database, postgres) = database::connect_or_start(&settings, &data, false).await?;
    let played = tokio::select! {
        played = play(&story, &settings, &data, folder.path(), &database, keep) => played,
        stopped = shutdown::requested() => stopped.and_then(|()| Err(Failure::new("interrupted"))),
    };
    service::close(&database).await;
    if let Some(postgres) = postgres {
        postgres.stop().await?;
    }
    played?;
    folder.close()?;
    Ok(())
}

async fn play(
    story: &Story,
    settings: &Settings,
    data: &Path,
    folder: &Path,
    database: &Database,
    keep: bool,
) -> Result<(), Failure> {
    holdfast_db::migrate(database).await?;
    let disks = service::open_disks(settings, database).await?;
    let counts = service::ProcessMetrics::default();
    let listener = service::listen(settings)?;
    let url = format!("http://{}", listener.local_addr()?);
    let api = service::start_api(
        settings,
        data,
        database.clone(),
        disks.clone(),
        &counts,
        listener,
    )
    .await?;
    let worker = service::start_worker(settings, database.clone(), disks, &counts)?;

    let told = async {
        let key = tell(story, settings, folder, database, &url).await?;
        if keep {
            story.chapter("Left running, as you asked; Ctrl-C ends it and removes everything");
            story.say(&format!("URL  {url}"));
            story.say(&format!("key  {key}"));
            shutdown::requested().await?;
        }
        Ok(())
    }
    .await;
    let worker = worker.stop().await;
    let api = api.stop().await;
    told.and(worker).and(api)
}

/// Tells the story, and returns the key that was used.
async fn tell(
    story: &Story,
    settings: &Settings,
    folder: &Path,
    database: &Database,
    url: &str,
) -> Result<String, Failure> {
    story.say(&format!("answers at {url}"));
    let directory = folder.join("server");
    story.chapter("A game server's directory");
    files::make(&directory)?;
    let before = files::look(&directory)?;
    let source_bytes: u64 = before.values().map(|entry| entry.size_bytes).sum();
    story.say(&format!(
        "{}: {} entries, {}",
        directory.display(),
        before.len(),
        story::bytes(source_bytes)
    ));

    story.chapter("Registering it");
    let email = "owner@example.com";
    command(
        story,
        settings,
        database,
        &["user", "create", "--email", email],
    )
    .await?;
    let key = command(
        story,
        settings,
        database,
        &["key", "create", "--user", email],
    )
    .await?;
    let key = text(&key, "token")?;
    let path = directory.to_string_lossy().into_owned();
    let server = command(
        story,
        settings,
        database,
        &[
            "server", "create", "--owner", email, "--name", "Demo", "--dir", &path,
        ],
    )
    .await?;
    let client = Client::new(url, &key, &text(&server, "identifier")?)?;

    story.chapter("Creating a backup");
    let begun = Instant::now();
    let body = json!({ "name": "Before the update", "ignored": "*.log\ncache/" });
    let created = client.post(story, "", Some(body)).await?;
    let backup = text(&created["attributes"], "uuid")?;
    let completed = watch(
        story,
        &client,
        &backup,
        |attributes| match attributes["status"].as_str() {
            Some("completed") => Some(Ok(())),
            Some("failed") => Some(Err(Failure::new(format!(
                "the backup failed: {}",
                attributes["error"]
            )))),
            _ => None,
        },
    )
    .await?;
    let backup_seconds = begun.elapsed().as_secs_f64();
    story.answer(200, &completed);
    let hash = text(&completed["attributes"], "sha256_hash")?;
    let archive_bytes = completed["attributes"]["bytes"].as_u64().unwrap_or(0);

    story.chapter("Downloading it, with a link that needs no key");
    let signed = client.get(story, &format!("/{backup}/download")).await?;
    let link = text(&signed["attributes"], "url")?;
    let begun = Instant::now();
    let file = folder.join("backup.tar.gz");
    let (received_bytes, received_hash) = client.download(story, &link, &file).await?;
    let download_seconds = begun.elapsed().as_secs_f64();
    story.check(
        "its size is what the API says",
        received_bytes == archive_bytes,
    )?;
    story.check("its SHA-256 is what the API says", received_hash == hash)?;

    story.chapter("Damaging the server");
    files::damage(&directory, story)?;
    let damaged = files::look(&directory)?;
    story.check("the directory is not what it was", damaged != before)?;

    story.chapter("Restoring the backup");
    let begun = Instant::now();
    client
        .post(
            story,
            &format!("/{backup}/restore"),
            Some(json!({ "truncate": true })),
        )
        .await?;
    watch(
        story,
        &client,
        &backup,
        |attributes| match attributes["restore"]["status"].as_str() {
            Some("completed") => Some(Ok(())),
            Some("failed") => Some(Err(Failure::new(format!(
                "the restore failed: {}",
                attributes["restore"]["error"]
            )))),
            _ => None,
        },
    )
    .await?;
    let restore_seconds = begun.elapsed().as_secs_f64();

    story.chapter("Comparing every name, type, mode, time and byte");
    let expected: BTreeMap<_, _> = before
        .into_iter()
        .filter(|(path, _)| !files::is_ignored(path))
        .collect();
    let after = files::look(&directory)?;
    for difference in files::differences(&expected, &after).iter().take(10) {
        story.say(difference);
    }
    story.check(
        "the server is what it was, without what the patterns left out",
        after == expected,
    )?;

    story.chapter("Figures");
    let kept = expected.values().filter(|entry| entry.is_file()).count();
    let kept_bytes: u64 = expected.values().map(|entry| entry.size_bytes).sum();
    story.say(&format!(
        "files      {kept} of {} entries, {}",
        expected.len(),
        story::bytes(kept_bytes)
    ));
    story.say(&format!("archive    {}", story::bytes(archive_bytes)));
    story.say(&format!("sha256     {hash}"));
    story.say(&format!(
        "backup     {backup_seconds:.2} s, waiting for the worker included"
    ));
    story.say(&format!("download   {download_seconds:.2} s"));
    story.say(&format!(
        "restore    {restore_seconds:.2} s, waiting for the worker included"
    ));
    story.chapter("Every step held");
    Ok(key)
}

/// Runs an admin command as a person would type it.
async fn command(
    story: &Story,
    settings: &Settings,
    database: &Database,
    arguments: &[&str],
) -> Result<Value, Failure> {
    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        command: AdminCommand,
    }
    story.typed(&format!(
        "holdfast admin {} --json",
        story::words(arguments)
    ));
    let line = Line::try_parse_from(["admin"].iter().chain(arguments))
        .map_err(|error| Failure::new(error.to_string()))?;
    let answer = admin::answer(settings, database, line.command).await?;
    story.printed(&answer);
    Ok(answer)
}

/// Polls a backup, showing its progress, until `ended` says how it ended.
async fn watch(
    story: &Story,
    client: &Client,
    backup: &str,
    ended: impl Fn(&Value) -> Option<Result<(), Failure>>,
) -> Result<Value, Failure> {
    let deadline = Instant::now() + PATIENCE;
    story.requested(
        "GET",
        &client.url(&format!("/{backup}")),
        "   (again and again)",
    );
    loop {
        let answer = client.quiet_get(&format!("/{backup}")).await?;
        story.progress(&answer["attributes"]["progress"]);
        if let Some(end) = ended(&answer["attributes"]) {
            story.progress_done();
            return end.map(|()| answer);
        }
        if Instant::now() > deadline {
            return Err(Failure::new(format!(
                "nothing came of it within {} s: {answer}",
                PATIENCE.as_secs()
            )));
        }
        tokio::time::sleep(POLL).await;
    }
}

fn text(object: &Value, field: &str) -> Result<String, Failure> {
    object[field]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| Failure::new(format!("the answer has no `{field}`: {object}")))
}
