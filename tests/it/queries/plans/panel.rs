//! What a panel's requests and the leader's rounds read costs the same with many servers and
//! backups.

use uuid::Uuid;

use holdfast_db::{backups, jobs};
use holdfast_domain::{BackupId, ServerId};

use super::walks_an_index;
use crate::support::database::TestDatabase;

/// 2,000 servers of a panel with five backups and old jobs each. A few backups are to be deleted,
/// and a few jobs wait.
const SEED: &str = "
    INSERT INTO servers (id, owner_id, name, directory, node, managed_by)
    SELECT gen_random_uuid(), '00000000-0000-0000-0000-000000000000', 'S', '/srv/' || n, 'local',
           'wings'
    FROM generate_series(1, 2000) n;
    INSERT INTO backups (id, server_id, name, disk, node, state, completed_at, sha256, size_bytes,
                         archive_attempt, managed_by)
    SELECT gen_random_uuid(), id, 'b', 'local', 'local', 'completed', now(), sha256('x'), 1, 1,
           'wings'
    FROM servers, generate_series(1, 5) n;
    INSERT INTO jobs (kind, server_id, backup_id, node, state, finalized_at)
    SELECT 'create_backup', server_id, id, 'local', 'completed', now() FROM backups;
    UPDATE backups SET deleting_at = now(), deletion_due_at = now() + interval '1 hour'
    WHERE id IN (SELECT id FROM backups ORDER BY id LIMIT 300);
    UPDATE backups SET deletion_due_at = now()
    WHERE id IN (SELECT id FROM backups ORDER BY id LIMIT 40);
    INSERT INTO waiting_jobs (kind, server_id, backup_id)
    SELECT 'restore_backup', server_id, id FROM backups ORDER BY id DESC LIMIT 40;";

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_a_panel_and_their_jobs_read_only_what_they_are_about() {
    let raw = TestDatabase::create().await;
    raw.query(SEED).await;
    raw.query("VACUUM ANALYZE").await;
    let rows = raw
        .query("SELECT id, server_id FROM backups ORDER BY id DESC OFFSET 100")
        .await;
    let uuid = |text: &Option<String>| Uuid::parse_str(text.as_deref().unwrap()).unwrap();
    let server = ServerId(uuid(&rows[0][1]));
    let backup = BackupId(uuid(&rows[0][0]));
    walks_an_index(&raw, "a request about a backup", async |database| {
        assert!(!backups::is_deleting(database, backup).await.unwrap());
        let mut transaction = database.begin().await.unwrap();
        let found = backups::find_for_panel(&mut transaction, backup).await;
        assert_eq!(found.unwrap().unwrap().server, server);
        let restores = jobs::has_panel_restore(&mut transaction, server, backup).await;
        assert!(!restores.unwrap());
        for of_server in [Some(backup), None] {
            let deleted =
                backups::begin_deletions(&mut transaction, server, of_server, "the panel").await;
            assert!(deleted.unwrap() > 0);
        }
        // Rolled back.
    })
    .await;
    walks_an_index(
        &raw,
        "the promotion of jobs and deletions",
        async |database| {
            jobs::promote(database).await.unwrap();
            backups::enqueue_deletions(database, |_| true)
                .await
                .unwrap();
        },
    )
    .await;
    let count = async |select: &str| raw.number(select).await;
    let waiting = "SELECT count(*) FROM waiting_jobs";
    let enqueued = "SELECT count(*) FROM jobs WHERE state = 'available' AND kind = ";
    let several = "SELECT count(*) - count(DISTINCT server_id) FROM jobs
                   WHERE state = 'available' AND kind = 'restore_backup'";
    assert_eq!(count(several).await, 0);
    let restores = count(&format!("{enqueued}'restore_backup'")).await;
    assert_eq!(restores + count(waiting).await, 40);
    assert!(restores > 30, "{restores}");
    assert_eq!(count(&format!("{enqueued}'delete_backup'")).await, 40);
    raw.drop().await;
}
