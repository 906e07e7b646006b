//! The size of completed backups that the database maintains by server and disk always equals their
//! sum. Every test of the whole service checks that at its end (`App::stop`).

use futures_util::future::join_all;

use holdfast_db::usage;

use super::Fixture;
use crate::support::database::TestDatabase;

impl TestDatabase {
    /// Fails unless the maintained totals equal the sums.
    pub(crate) async fn assert_stored_adds_up(&self, when: &str) {
        let differs = "SELECT coalesce(string_agg(row::text, ' '), '') FROM (
            (SELECT server_id, disk, count(*), sum(size_bytes) FROM backups \
            WHERE state = 'completed' GROUP BY 1, 2
             EXCEPT SELECT server_id, disk, backups, bytes FROM stored_totals)
            UNION ALL
            (SELECT server_id, disk, backups, bytes FROM stored_totals
             EXCEPT SELECT server_id, disk, count(*), sum(size_bytes) FROM backups \
             WHERE state = 'completed'
             GROUP BY 1, 2)) row";
        let differs = self.query(differs).await.remove(0).remove(0);
        assert_eq!(differs.as_deref(), Some(""), "{when}");
    }
}

/// Statements that complete backups, including ones that the service would never run.
const COMPLETED: &str = "INSERT INTO backups (id, server_id, name, disk, state, completed_at, \
    sha256, size_bytes,
                                              archive_attempt)
    SELECT gen_random_uuid(), id, 'b', CASE n % 3 WHEN 0 THEN 'offsite' ELSE 'local' END, \
    'completed', now(),
           decode(repeat('00', 32), 'hex'), n, 1
    FROM servers, generate_series(1, 20) n";

#[tokio::test(flavor = "multi_thread")]
async fn stored_totals_equal_the_sums_after_any_statement() {
    let fixture = Fixture::new().await;
    let raw = &fixture.raw;
    let (server, backup, _) = fixture.backup().await;
    fixture.server().await;
    let of_one = format!("WHERE id = '{backup}'");
    let whole =
        "completed_at = now(), sha256 = decode(repeat('00', 32), 'hex'), archive_attempt = 1";
    for statement in [
        COMPLETED.to_owned(),
        format!("UPDATE backups SET state = 'completed', size_bytes = 7, {whole} {of_one}"),
        "UPDATE backups SET is_locked = NOT is_locked WHERE state = 'completed'".to_owned(),
        "UPDATE backups SET size_bytes = size_bytes * 2 WHERE size_bytes % 2 = 0".to_owned(),
        // One moves to the other disk while others move away from it.
        "UPDATE backups SET disk = CASE disk WHEN 'local' THEN 'offsite' ELSE 'local' END \
         WHERE size_bytes < 9"
            .to_owned(),
        format!("UPDATE backups SET server_id = '{server}' WHERE size_bytes > 9"),
        "UPDATE backups SET state = 'failed', completed_at = NULL, sha256 = NULL, \
         archive_attempt = NULL, size_bytes = 0,
                failed_at = now(), error = 'It rained.', is_locked = false WHERE size_bytes > 20"
            .to_owned(),
        "DELETE FROM backups WHERE state = 'failed'".to_owned(),
        "DELETE FROM backups WHERE size_bytes % 2 = 1".to_owned(),
        format!("DELETE FROM backups WHERE server_id = '{server}'"),
        COMPLETED.to_owned(),
        format!("BEGIN; {COMPLETED}; ROLLBACK"),
        "DELETE FROM backups".to_owned(),
    ] {
        raw.query(&statement).await;
        raw.assert_stored_adds_up(&statement).await;
    }
    assert_eq!(raw.number("SELECT count(*) FROM stored_totals").await, 0);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_totals_stay_right_under_simultaneous_writes() {
    let fixture = Fixture::new().await;
    let (server, _, _) = fixture.backup().await;
    let one = |n: u32| {
        format!(
            "{COMPLETED}, generate_series(1, {n}) more WHERE id = '{server}';
             DELETE FROM backups WHERE id IN (
                 SELECT id FROM backups WHERE state = 'completed' ORDER BY random() LIMIT 15 FOR \
                 UPDATE SKIP LOCKED)"
        )
    };
    let statements: Vec<String> = (1..9).map(one).collect();
    join_all(statements.iter().map(|each| fixture.raw.query(each))).await;
    fixture.raw.assert_stored_adds_up("many at once").await;

    let by_disk = usage::by_disk(&fixture.database).await.unwrap();
    let added_up = "SELECT count(*) FROM backups WHERE state = 'completed'";
    let backups: u64 = by_disk.iter().map(|(_, stored)| stored.backups).sum();
    assert_eq!(
        i64::try_from(backups).unwrap(),
        fixture.raw.number(added_up).await
    );
    let names: Vec<&str> = by_disk.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["local", "offsite"]);
    fixture.end().await;
}
