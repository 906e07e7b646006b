//! Databases that Holdfast did not make: those that it cannot use are refused before anything is
//! written, with what to change; settings of roles and databases do not change what it does.

mod pgbouncer;

use holdfast_postgres::{PostgresOptions, PrivatePostgres};

use crate::support::database::TestDatabase;
use crate::support::files;
use crate::support::process::{Ended, holdfast, run};

/// The commands that use a database. None of them may go on with one that it cannot use.
const COMMANDS: [&[&str]; 6] = [
    &["up", "--listen", "127.0.0.1:0"],
    &["serve", "--listen", "127.0.0.1:0"],
    &["worker"],
    &["migrate"],
    &["migrate", "--check"],
    &["admin", "user", "list"],
];

fn command(url: &str, arguments: &[&str]) -> Ended {
    let folder = files::scratch();
    let mut command = holdfast(&[("database.url", url)]);
    command.args(arguments).arg("--data");
    run(command.arg(folder.path().join("data")))
}

/// Checks that every command refuses a database with the same sentence, and returns it.
fn refused(url: &str) -> String {
    let sentences = COMMANDS.map(|arguments| command(url, arguments).failure().to_owned());
    for (arguments, sentence) in COMMANDS.iter().zip(&sentences) {
        assert_eq!(sentence, &sentences[0], "{arguments:?}");
    }
    sentences[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_in_another_encoding_is_refused_with_the_command_that_creates_a_good_one() {
    for encoding in ["LATIN1", "SQL_ASCII", "WIN1252"] {
        let options = format!("ENCODING '{encoding}' LOCALE 'C'");
        let database = TestDatabase::create_with(&options).await;
        let sentence = refused(&database.url());
        assert!(
            sentence.contains(&format!("has the encoding {encoding}")),
            "{sentence}"
        );
        let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
        assert_eq!(database.number(tables).await, 0, "nothing was created");

        let create = sentence
            .split('`')
            .find(|part| part.starts_with("CREATE DATABASE"));
        TestDatabase::administer(create.unwrap()).await;
        let name = database.name();
        let good = database.url().replace(name, &format!("{name}_utf8"));
        let migrated = command(&good, &["migrate"]);
        assert_eq!(
            migrated.stdout, "the schema is up to date\n",
            "{migrated:?}"
        );
        TestDatabase::administer(&format!("DROP DATABASE {name}_utf8 WITH (FORCE)")).await;
        database.drop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_written_to_is_refused_at_start() {
    let database = TestDatabase::create().await;
    database.forbid_writes(true).await;
    let sentence = refused(&database.url());
    assert!(
        sentence.contains("default_transaction_read_only"),
        "{sentence}"
    );
    database.forbid_writes(false).await;
    assert_eq!(
        command(&database.url(), &["admin", "user", "list"]).code,
        Some(0)
    );
    database.drop().await;

    let folder = files::scratch();
    files::set_mode(folder.path(), 0o711);
    let options = PostgresOptions {
        durable: false,
        ..PostgresOptions::new(folder.path().join("postgres"))
    };
    let primary = PrivatePostgres::start(&options).await.unwrap();
    primary.stop().await.unwrap();
    let signal = folder.path().join("postgres/data/standby.signal");
    fs_err::write(&signal, "").unwrap();
    let standby = PrivatePostgres::start(&options).await.unwrap();
    let sentence = refused(&standby.url("postgres"));
    assert!(sentence.contains("is a standby"), "{sentence}");
    standby.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_would_hide_the_tables_is_refused() {
    let database = TestDatabase::create().await;
    database.query("CREATE SCHEMA other").await;
    // As for a role with a schema of its name: new tables would be in that schema, which is empty.
    database.alter("SET search_path = other, public").await;
    let sentence = refused(&database.url());
    let expected = "the tables are in the schema public, but";
    assert!(sentence.contains(expected), "{sentence}");
    database.alter("SET search_path = nowhere").await;
    let sentence = refused(&database.url());
    assert!(
        sentence.contains("no schema of search_path (nowhere) exists"),
        "{sentence}"
    );
    database.drop().await;

    // A schema other than public is fine.
    let database = TestDatabase::create_empty().await;
    database.query("CREATE SCHEMA other").await;
    database.alter("SET search_path = other").await;
    assert_eq!(command(&database.url(), &["migrate"]).code, Some(0));
    assert_eq!(
        command(&database.url(), &["admin", "user", "list"]).code,
        Some(0)
    );
    assert_eq!(
        database.number("SELECT count(*) FROM other.servers").await,
        0
    );
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_not_create_tables_is_told_what_to_grant() {
    let database = TestDatabase::create_empty().await;
    let role = format!("{}_limited", database.name());
    TestDatabase::administer(&format!("CREATE ROLE {role} LOGIN")).await;
    database
        .query("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        .await;
    database.alter(&format!("SET role = '{role}'")).await;
    let migrated = command(&database.url(), &["migrate"]);
    let grant = format!("GRANT CREATE ON SCHEMA public TO {role}");
    assert!(migrated.failure().contains(&grant), "{migrated:?}");
    database.alter("RESET role").await;
    database.query(&grant).await;
    database.alter(&format!("SET role = '{role}'")).await;
    assert_eq!(command(&database.url(), &["migrate"]).code, Some(0));
    database.drop().await;
    TestDatabase::administer(&format!("DROP ROLE {role}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_a_role_or_database_do_not_change_a_session() {
    let database = TestDatabase::create_empty().await;
    for (name, value) in [
        ("client_encoding", "LATIN1"),
        ("standard_conforming_strings", "off"),
        ("statement_timeout", "1ms"),
        ("lock_timeout", "1ms"),
        ("idle_in_transaction_session_timeout", "1ms"),
        ("idle_session_timeout", "1s"),
        ("default_transaction_isolation", "serializable"),
        ("TimeZone", "Asia/Kolkata"),
        ("DateStyle", "SQL, DMY"),
        ("IntervalStyle", "sql_standard"),
        ("bytea_output", "escape"),
        ("synchronous_commit", "off"),
    ] {
        database.alter(&format!("SET {name} = '{value}'")).await;
    }
    assert_eq!(command(&database.url(), &["migrate"]).code, Some(0));
    let email = "zoë😀@example.com";
    let made = command(
        &database.url(),
        &["admin", "--json", "user", "create", "--email", email],
    );
    assert_eq!(made.json()["email"], email);
    let listed = command(&database.url(), &["admin", "--json", "user", "list"]).json();
    assert_eq!(listed[0]["email"], email);
    assert!(
        listed[0]["created_at"]
            .as_str()
            .unwrap()
            .ends_with("+00:00"),
        "{listed}"
    );
    for (name, expected) in [
        ("client_encoding", "UTF8"),
        ("standard_conforming_strings", "on"),
        ("statement_timeout", "0"),
        ("lock_timeout", "0"),
        ("idle_in_transaction_session_timeout", "0"),
        ("idle_session_timeout", "0"),
        ("default_transaction_isolation", "read committed"),
        ("TimeZone", "UTC"),
        ("synchronous_commit", "on"),
    ] {
        let rows = database.query(&format!("SHOW {name}")).await;
        assert_eq!(rows[0][0].as_deref(), Some(expected), "{name}");
    }
    // Other values are about standbys.
    database
        .alter("SET synchronous_commit = 'remote_apply'")
        .await;
    let rows = database.query("SHOW synchronous_commit").await;
    assert_eq!(rows[0][0].as_deref(), Some("remote_apply"));
    database.drop().await;
}
