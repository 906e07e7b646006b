//! What a worker of a panel's node repeats costs the same with many servers and a long outbox.

use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;

use holdfast_db::panel_callbacks;
use holdfast_db::wings_servers::{self, ListedServer, NodeServers};
use holdfast_domain::ServerId;

use super::walks_an_index;
use crate::queries::node;
use crate::support::database::TestDatabase;

/// 4,000 servers of a panel on two nodes, of which a few are absent or not confirmed. Each has two
/// callbacks, half of which are due.
const SEED: &str = "
    INSERT INTO users (id, email)
    SELECT gen_random_uuid(), 'u' || n || '@example.com' FROM generate_series(1, 2000) n;
    INSERT INTO servers (id, owner_id, name, directory, node, managed_by, synced_at)
    SELECT id, '00000000-0000-0000-0000-000000000000', 'S', '/volumes/' || id,
           CASE n % 2 WHEN 0 THEN 'local' ELSE 'far' END, 'wings', now()
    FROM (SELECT n, gen_random_uuid() AS id FROM generate_series(1, 4000) n) s;
    UPDATE servers SET absent_since = now() - interval '40 days'
    WHERE id IN (SELECT id FROM servers WHERE node = 'local' ORDER BY id LIMIT 10);
    UPDATE servers SET synced_at = NULL
    WHERE id IN (SELECT id FROM servers WHERE node = 'local' ORDER BY id DESC LIMIT 10);
    INSERT INTO backups (id, server_id, name, disk, node, state, completed_at, sha256, size_bytes,
                         archive_attempt, managed_by)
    SELECT gen_random_uuid(), id, 'b', 'local', 'local', 'completed', now(), sha256('x'), 1, 1,
           'wings'
    FROM servers;
    INSERT INTO jobs (kind, server_id, backup_id, node, state, finalized_at)
    SELECT 'create_backup', server_id, id, 'local', 'completed', now() FROM backups;
    INSERT INTO panel_callbacks (node, server_id, backup_id, kind, body, next_at)
    SELECT s.node, s.id, b.id, 'backup', '{}',
           now() + CASE n WHEN 1 THEN interval '-1 hour' ELSE interval '1 hour' END
    FROM servers s JOIN backups b ON b.server_id = s.id, generate_series(1, 2) n;";

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_of_a_panel_reads_only_what_is_due() {
    let raw = TestDatabase::create().await;
    raw.query(SEED).await;
    raw.query("VACUUM ANALYZE").await;
    // Postgres reads this table as a whole where it is empty, as in the other tests.
    let reads = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'panel_callbacks'";
    let before = raw.number(reads).await;
    let local = node();
    let minute = Duration::from_secs(60);
    walks_an_index(&raw, "the claim of callbacks", async |database| {
        let claims = panel_callbacks::claim(database, &local, minute, 8)
            .await
            .unwrap();
        assert_eq!(claims.len(), 8);
        let wait = Duration::from_secs(3600);
        for claimed in &claims[..4] {
            let kept = panel_callbacks::record_failure(database, claimed, "x: y", true, wait);
            assert!(kept.await.unwrap());
        }
        for claimed in &claims[4..] {
            assert!(
                panel_callbacks::record_done(database, claimed)
                    .await
                    .unwrap()
            );
            // A claim that was lost changes nothing.
            assert!(
                !panel_callbacks::record_done(database, claimed)
                    .await
                    .unwrap()
            );
            assert!(
                panel_callbacks::is_kept(database, claimed.backup)
                    .await
                    .unwrap()
            );
        }
    })
    .await;
    assert_eq!(raw.number(reads).await, before);

    walks_an_index(&raw, "servers to ask about", async |database| {
        let unconfirmed = wings_servers::list_unconfirmed(database, &local, 20).await;
        assert_eq!(unconfirmed.unwrap().len(), 10);
        let forgotten = wings_servers::list_forgotten(database, &local, minute, 20).await;
        assert_eq!(forgotten.unwrap().len(), 10);
        assert!(
            wings_servers::find_present(database, &local)
                .await
                .unwrap()
                .is_some()
        );
        assert_eq!(
            wings_servers::count_absent(database).await.unwrap(),
            [("local".to_owned(), 10)]
        );
    })
    .await;
    let rows = raw
        .query("SELECT id FROM servers WHERE node = 'local' ORDER BY id LIMIT 25")
        .await;
    let known = rows.iter().map(|row| row[0].as_deref().unwrap());
    let known = known.map(|id| ServerId(Uuid::parse_str(id).unwrap()));
    let servers = NodeServers {
        node: local.clone(),
        data: PathBuf::from("/volumes"),
        panel_url: "https://panel.example.com".to_owned(),
    };
    let known: Vec<ListedServer> = known
        .map(|id| ListedServer {
            id,
            name: Some("Named".to_owned()),
            is_suspended: false,
        })
        .collect();
    walks_an_index(&raw, "a page of the panel's list", async |database| {
        let mut page = known.clone();
        page.extend((0..25).map(|_| ListedServer {
            id: ServerId(Uuid::new_v4()),
            name: None,
            is_suspended: true,
        }));
        let result = wings_servers::sync_page(database, &servers, &page)
            .await
            .unwrap();
        assert_eq!((result.inserted, result.moved), (25, 0));
        assert!(result.busy.is_empty() && result.foreign.is_empty());
    })
    .await;
    raw.drop().await;
}
