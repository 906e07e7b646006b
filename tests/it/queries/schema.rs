//! The schema, its migrations, and a database that is away.

use holdfast_db::{Database, Error};

use super::Fixture;
use crate::support::database::TestDatabase;

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_refuses_impossible_states() {
    let fixture = Fixture::new().await;
    fixture.backup().await;
    for (statement, constraint) in [
        ("UPDATE backups SET state = 'completed'", "backups_state"),
        ("UPDATE backups SET state = 'paused'", "backups_state"),
        (
            "UPDATE backups SET state = 'failed', failed_at = now(), error = 'x'",
            "backups_state",
        ),
        ("UPDATE backups SET size_bytes = 1", "backups_state"),
        (
            "UPDATE backups SET verification = 'passed', verification_finished_at = now()",
            "backups_verification",
        ),
        (
            "UPDATE backups SET damaged_at = now()",
            "backups_verification",
        ),
        ("UPDATE jobs SET state = 'running'", "jobs_lease"),
        ("UPDATE jobs SET state = 'completed'", "jobs_final"),
        ("UPDATE jobs SET finalized_at = now()", "jobs_final"),
        ("UPDATE jobs SET kind = 'dance'", "jobs_kind_check"),
        ("UPDATE servers SET backup_limit = -1", "backup_limit"),
        (
            "UPDATE servers SET directory = 'relative'",
            "directory_check",
        ),
        ("DELETE FROM servers", "servers_id"),
    ] {
        let refused = fixture.raw.try_query(statement).await.unwrap_err();
        let text = refused.to_string();
        let short = constraint.trim_end_matches("s_id");
        assert!(text.contains(short), "{statement}: {text}");
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_run_once_under_repeated_and_simultaneous_starts() {
    let raw = TestDatabase::create_empty().await;
    let (one, other) = (raw.connect().await, raw.connect().await);
    let both = tokio::join!(holdfast_db::migrate(&one), holdfast_db::migrate(&other));
    both.0.unwrap();
    both.1.unwrap();
    holdfast_db::migrate(&one).await.unwrap();
    let files = fs_err::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations"))
        .unwrap()
        .filter(|entry| {
            let path = entry.as_ref().unwrap().path();
            path.extension().is_some_and(|extension| extension == "sql")
        })
        .count();
    let ran = raw.number("SELECT count(*) FROM _sqlx_migrations").await;
    assert_eq!(usize::try_from(ran).unwrap(), files);
    one.close().await;
    other.close().await;
    raw.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_database_is_temporary_and_an_invalid_url_is_permanent() {
    let wrong = Database::connect("no url", 1).await.unwrap_err();
    assert!(matches!(wrong, Error::Url(_)), "{wrong:?}");
    assert!(!wrong.is_temporary());
    let raw = TestDatabase::create().await;
    let url = raw.url();
    let database = raw.connect().await;
    database.ping().await.unwrap();
    raw.drop().await;
    let gone = database.ping().await.unwrap_err();
    assert!(gone.is_temporary(), "{gone:?}");
    let gone = Database::connect(&url, 1).await.unwrap_err();
    assert!(gone.is_temporary(), "{gone:?}");
    database.close().await;
    let closed = database.ping().await.unwrap_err();
    assert!(closed.is_temporary(), "{closed:?}");
}
