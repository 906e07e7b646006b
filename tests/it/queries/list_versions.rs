//! The versions that decide whether a cached list is current. Each commit changes them, in whatever
//! order transactions end.

use holdfast_db::{Database, ListVersions, backups, jobs};
use holdfast_domain::key::KeyIdentifier;
use holdfast_domain::{BackupId, BackupName, JobKind, ServerId, ServerRef};

use super::{Fixture, new_job};

async fn versions(fixture: &Fixture, key: &KeyIdentifier, server: ServerId) -> ListVersions {
    let context = fixture.look_up(key, Some(&ServerRef::Id(server))).await;
    context.unwrap().list_versions
}

async fn rename(database: &Database, backup: BackupId) -> holdfast_db::Transaction {
    let mut transaction = database.begin().await.unwrap();
    let name = BackupName::parse("Renamed").unwrap().unwrap();
    backups::rename(&mut transaction, backup, &name)
        .await
        .unwrap();
    transaction
}

#[tokio::test(flavor = "multi_thread")]
async fn each_commit_changes_a_servers_versions_in_any_order() {
    let fixture = Fixture::new().await;
    let key = fixture.key_of(fixture.owner).await;
    let (server, first, _) = fixture.backup().await;
    let other_server = fixture.server().await;
    let of_other = versions(&fixture, &key, other_server).await;
    assert!(!of_other.is_empty(), "a new server has a version");
    let more = "INSERT INTO backups (id, server_id, name, disk, state, failed_at, error)
                SELECT gen_random_uuid(), id, 'b', 'local', 'failed', now(), 'It rained.' \
                FROM servers";
    fixture
        .raw
        .query(&format!("{more} WHERE id = '{server}'"))
        .await;
    let second = "SELECT id::text FROM backups WHERE state = 'failed'";
    let second = fixture.raw.query(second).await[0][0].clone().unwrap();
    let second = BackupId::parse(&second).unwrap();

    let mut seen = vec![versions(&fixture, &key, server).await];
    let mut next = async |what: &str| {
        let now = versions(&fixture, &key, server).await;
        assert!(!seen.contains(&now), "{what}: the versions did not change");
        seen.push(now);
    };
    // Each of these began before the other had ended, and neither waits for the other.
    for earlier_first in [true, false] {
        let one = rename(&fixture.database, first).await;
        let other = rename(&fixture.database, second).await;
        let (earlier, later) = if earlier_first {
            (one, other)
        } else {
            (other, one)
        };
        earlier.commit().await.unwrap();
        next("the first commit").await;
        later.commit().await.unwrap();
        next("the second commit").await;
    }
    // A transaction that is rolled back changes nothing.
    let before = versions(&fixture, &key, server).await;
    drop(rename(&fixture.database, first).await);
    let still = versions(&fixture, &key, server).await;
    assert_eq!(still, before);
    // Two writes of one transaction are one change. Every other kind of write is one change, too.
    let mut transaction = rename(&fixture.database, second).await;
    let job = new_job(JobKind::DeleteBackup, server, second);
    jobs::enqueue(&mut transaction, &job).await.unwrap();
    assert_eq!(versions(&fixture, &key, server).await, before);
    transaction.commit().await.unwrap();
    next("a job").await;
    let mut transaction = fixture.database.begin().await.unwrap();
    backups::delete(&mut transaction, second).await.unwrap();
    transaction.commit().await.unwrap();
    next("a deletion").await;
    fixture.raw.query("DELETE FROM jobs").await;
    next("jobs that are removed").await;
    // One statement over many rows.
    let many = "FROM servers, generate_series(1, 3000)";
    fixture.raw.query(&more.replace("FROM servers", many)).await;
    next("many backups").await;
    fixture.raw.query("DELETE FROM backups").await;
    next("the removal of all").await;
    let of_other_now = versions(&fixture, &key, other_server).await;
    assert_ne!(of_other_now, of_other, "they had many backups as well");
    let count = fixture
        .raw
        .number("SELECT count(*) FROM list_versions")
        .await;
    assert!(count <= 4, "{count} versions of two servers");
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_read_only_tables_whose_writes_change_the_version() {
    // If you add a table to a list, add its triggers to the migrations and its name here.
    let source = include_str!("../../../crates/db/src/backups/pages.rs");
    let words: Vec<&str> = source.split_whitespace().collect();
    let covered = ["backups", "jobs"];
    let ours = ["unnest($1::uuid[])", "unnest($1::uuid[],", "(", "LATERAL"];
    let mut found = 0;
    for pair in words.windows(2) {
        let table = pair[1].trim_end_matches([',', ')']);
        if !["FROM", "JOIN"].contains(&pair[0]) || ours.contains(&pair[1]) {
            continue;
        }
        assert!(
            covered.contains(&table),
            "{table} does not change the versions"
        );
        found += 1;
    }
    assert!(found >= 4, "{found} tables");
    let fixture = Fixture::new().await;
    for table in covered {
        let triggers = format!(
            "SELECT count(*) FROM pg_trigger WHERE tgrelid = '{table}'::regclass \
             AND tgfoid = 'replace_list_versions'::regproc"
        );
        assert_eq!(fixture.raw.number(&triggers).await, 3, "{table}");
    }
    fixture.end().await;
}
