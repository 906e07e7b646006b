//! Two versions on one database: what this version can do after a newer one has migrated, and what
//! it reports. The test writes into the database what a newer version would.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::app::App;
use crate::support::client::Client;
use crate::support::database::TestDatabase;
use crate::support::process::{Process, holdfast, run};
use crate::support::{eventually, files};

/// The last migration of version 0.1.0. The rule on names applies to all later ones.
const BASELINE: i64 = 18;

/// Records a migration as one that has run.
fn ran(version: i64, description: &str) -> String {
    format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES ({version}, '{description}', true, '\\x00', 0)"
    )
}

fn command(url: &str, data: &Path, arguments: &[&str]) -> Command {
    let mut command = holdfast(&[("database.url", url)]);
    command.args(arguments).env("HOLDFAST_DATA", data);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_of_check_describes_the_schema() {
    let raw = TestDatabase::create_empty().await;
    let (url, folder) = (raw.url(), files::scratch());
    let holdfast = |arguments: &[&str]| run(&mut command(&url, folder.path(), arguments));
    let check = |code: i32, text: &str| {
        let ended = holdfast(&["migrate", "--check"]);
        assert_eq!(ended.code, Some(code), "{ended:?}");
        let output = format!("{}{}", ended.stdout, ended.stderr);
        assert!(output.contains(text), "{output}");
    };

    check(3, "the schema is older than this version");
    assert_eq!(
        raw.number("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
            .await,
        0,
        "it only looks"
    );
    for arguments in [&["serve", "--listen", "127.0.0.1:0"][..], &["worker"]] {
        let ended = holdfast(arguments);
        assert!(ended.stderr.contains("run `holdfast migrate`"), "{ended:?}");
        assert_eq!(ended.code, Some(1), "{ended:?}");
    }
    assert_eq!(holdfast(&["migrate"]).stdout, "the schema is up to date\n");
    check(0, "the schema is up to date");

    raw.query("DELETE FROM _sqlx_migrations WHERE version = 2")
        .await;
    check(3, "run `holdfast migrate` to apply migration 2");
    raw.query(&ran(2, "api keys")).await;
    check(1, "migration 2 of the database differs from this version's");
    for arguments in [
        &["migrate"][..],
        &["serve", "--listen", "127.0.0.1:0"],
        &["worker"],
    ] {
        let ended = holdfast(arguments);
        let output = "import the backups with `holdfast admin storage import`";
        assert!(ended.stderr.contains(output), "{arguments:?}: {ended:?}");
        assert_eq!(ended.code, Some(1), "{arguments:?}: {ended:?}");
    }
    raw.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_works_beside_a_newer_one_until_a_contract_removes_what_it_needs() {
    let mut app = App::without_worker(&[]).await;
    let (url, data) = (app.sql().url(), app.beside("other"));
    // Changes of a newer version: a table, a column, a kind of job, and a waiting job of that kind
    // for this node.
    app.sql()
        .query(&format!(
            "{}; {}; CREATE TABLE novelties (id bigint); \
             ALTER TABLE backups ADD COLUMN novelty text;
             ALTER TABLE jobs DROP CONSTRAINT jobs_kind_check;
             INSERT INTO jobs (kind, server_id, backup_id, node, priority)
             VALUES ('polish', gen_random_uuid(), gen_random_uuid(), 'local', -1)",
            ran(9001, "novelties"),
            ran(9002, "contract 0001 of what this version knows")
        ))
        .await;
    let check = run(&mut command(&url, &data, &["migrate", "--check"]));
    let text = check.stderr.clone();
    assert_eq!(check.code, Some(4), "{check:?}");
    assert!(text.contains("2 migrations from 9001 to 9002"), "{text}");
    let migrate = run(&mut command(&url, &data, &["migrate"]));
    assert_eq!(migrate.code, Some(0), "{migrate:?}");
    assert!(
        migrate.stdout.contains("is newer than this version"),
        "{migrate:?}"
    );

    let mut serve = command(&url, &data, &["serve", "--listen", "127.0.0.1:0"]);
    let logs = files::scratch();
    let mut serve = Process::start(&mut serve, logs.path());
    let owner: Client = app.as_owner().at(&serve.url().await);
    app.add_worker(&[]);
    files::make_server(&app.directory);
    let uuid = owner.create(json!({})).await.uuid();
    eventually("the backup is completed", async || {
        let backup = owner.show(&uuid).await.attributes();
        (backup["status"] == "completed").then_some(())
    })
    .await;
    assert_eq!(owner.restore(&uuid, json!({})).await.status, 202);
    assert_eq!(app.restored(&uuid).await["status"], "completed");
    assert_eq!(owner.delete(&uuid).await.status, 204);
    let jobs = run(&mut command(
        &url,
        &data,
        &["admin", "--json", "job", "list"],
    ));
    assert_eq!(
        jobs.json().as_array().unwrap().len(),
        3,
        "the kinds it knows"
    );
    let untouched =
        "SELECT count(*) FROM jobs WHERE kind = 'polish' AND state = 'available' AND attempt = 0";
    assert_eq!(
        app.sql().number(untouched).await,
        1,
        "nor does it take up any other"
    );

    app.sql().query(&ran(9003, "contract 9001 novelties")).await;
    let check = run(&mut command(&url, &data, &["migrate", "--check"]));
    assert_eq!(check.code, Some(5), "{check:?}");
    for arguments in [
        &["migrate"][..],
        &["up", "--listen", "127.0.0.1:0"],
        &["serve", "--listen", "127.0.0.1:0"],
        &["worker"],
    ] {
        let ended = run(&mut command(&url, &data, arguments));
        assert_eq!(ended.code, Some(1), "{arguments:?}: {ended:?}");
        let output = "too new for this version, which does not know migration 9001";
        assert!(ended.stderr.contains(output), "{arguments:?}: {ended:?}");
    }
    drop(serve);
    app.stop().await;
}

/// Returns whether a statement, given as one line in capitals, breaks the previous version.
fn takes_away(statement: &str) -> bool {
    let has = |words: &str| statement.contains(words);
    // `IS NOT NULL` in a CHECK is no constraint on a column.
    let conditions = statement.replace("IS NOT NULL", "");
    let new_column_must_be_filled = conditions.split("ADD COLUMN").skip(1).any(|column| {
        let has = |words: &str| column.contains(words);
        has("NOT NULL") && !has("DEFAULT") && !has("GENERATED")
    });
    has("DROP TABLE")
        || has("DROP COLUMN")
        || has("RENAME")
        || has("SET NOT NULL")
        || (has("ALTER COLUMN") && has(" TYPE "))
        || new_column_must_be_filled
}

#[test]
fn only_contract_migrations_remove_anything() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations");
    let mut migrations: Vec<(i64, String, String)> = fs_err::read_dir(folder)
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let (version, name) = path.file_stem()?.to_str()?.split_once('_')?;
            let text = fs_err::read_to_string(&path).unwrap();
            Some((version.parse().ok()?, name.to_owned(), text))
        })
        .collect();
    migrations.sort();
    assert!(migrations.len() > 15, "{migrations:?}");
    for (version, name, text) in &migrations {
        let code: Vec<&str> = text
            .lines()
            .map(|line| line.split("--").next().unwrap_or_default())
            .collect();
        let code = code.join(" ").to_uppercase();
        let found = code.split(';').find(|statement| takes_away(statement));
        let of = name
            .strip_prefix("contract_")
            .and_then(|rest| rest.split('_').next()?.parse::<i64>().ok());
        if let Some(old) = of {
            let is_there = migrations
                .iter()
                .any(|(other, ..)| *other == old && old < *version);
            assert!(
                is_there,
                "{version}_{name}: there is no migration {old} before it"
            );
        } else if *version > BASELINE {
            assert_eq!(
                found, None,
                "{version}_{name}: see migrations/README.md, \"Expand, then contract\""
            );
        }
    }
    for statement in [
        "ALTER TABLE A DROP COLUMN B",
        "ALTER TABLE A ADD COLUMN B TEXT NOT NULL",
    ] {
        assert!(takes_away(statement), "{statement}");
    }
    for statement in [
        "ALTER TABLE A ADD COLUMN B TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE A ADD COLUMN B TEXT, ADD CONSTRAINT C CHECK (B IS NOT NULL OR D)",
    ] {
        assert!(!takes_away(statement), "{statement}");
    }
}
