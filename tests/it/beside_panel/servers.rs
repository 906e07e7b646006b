//! The servers of the panel are known here without bookkeeping, and none is lost.

use std::time::Duration;

use uuid::Uuid;

use super::Beside;
use crate::stand_ins::faults::Fault;
use crate::stand_ins::{Flavour, NodeKey};
use crate::support::eventually;

const FAST: [(&str, &str); 1] = [("wings.sync_seconds", "1")];

impl Beside {
    /// Waits until a list was read that has begun after now.
    async fn listed(&self) {
        self.lists_read("complete", 2.0).await;
    }

    async fn lists_read(&self, result: &str, count: f64) {
        let lists = async || self.metric("holdfast_panel_lists_total", result).await;
        let before = lists().await;
        eventually("lists were read", async || {
            (lists().await >= before + count).then_some(())
        })
        .await;
    }

    async fn server_row(&self, server: Uuid, columns: &str) -> String {
        self.sql(&format!(
            "SELECT {columns} FROM servers WHERE id = '{server}'"
        ))
        .await
    }

    async fn is_absent(&self, server: Uuid) -> bool {
        self.server_row(server, "absent_since IS NOT NULL").await == "t"
    }

    /// Adds a server to the panel alone, with this UUID and on this node.
    fn insert(&self, server: Uuid, node: usize) {
        let any = self.panel.add_server();
        self.panel.change(|state| {
            let mut row = state.servers.remove(&any).unwrap();
            (row.uuid, row.node) = (server, node);
            state.servers.insert(server, row);
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_pages_of_the_list_are_taken_over_with_names_and_states() {
    let beside = Beside::start(&FAST).await;
    let servers: Vec<Uuid> = (0..120).map(|_| beside.panel.add_server()).collect();
    beside.panel.change_server(servers[3], |server| {
        server.name = "Skyblock".to_owned();
        server.suspended = true;
    });
    beside
        .waits("(SELECT count(*) = 120 FROM servers WHERE managed_by = 'wings')")
        .await;
    let columns = "name || ' ' || state || ' ' || node || ' ' || directory || ' ' || \
                   no_default_schedule || ' ' || owner_id";
    eventually("the server is known", async || {
        let row = beside.server_row(servers[3], columns).await;
        let directory = beside.wings.directory(servers[3]);
        let expected = format!(
            "Skyblock suspended local {} true 00000000-0000-0000-0000-000000000000",
            directory.display()
        );
        (row == expected).then_some(())
    })
    .await;
    // Changes arrive with the next list.
    beside.panel.change_server(servers[3], |server| {
        server.name = "Creative".to_owned();
        server.suspended = false;
    });
    eventually("the changes are known", async || {
        let row = beside.server_row(servers[3], "name || ' ' || state").await;
        (row == "Creative normal").then_some(())
    })
    .await;
    beside.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_server_is_asked_about_at_once() {
    // The list comes too late for this.
    let beside = Beside::start(&[("wings.sync_seconds", "86400")]).await;
    // The first list is read before.
    beside.waits("true").await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let server = beside.add_server();
    beside
        .panel
        .change_server(server, |server| server.name = "Factions".to_owned());
    let backup = beside.create(server).await;
    eventually("the name is known", async || {
        (beside.server_row(server, "name").await == "Factions").then_some(())
    })
    .await;
    assert!(beside.reported(backup).await.is_successful);

    // One that the panel does not know is absent.
    let stranger = Uuid::new_v4();
    let directory = beside.wings.directory(stranger);
    beside
        .sql(&format!(
            "INSERT INTO servers (id, owner_id, name, directory, node, managed_by)
             VALUES ('{stranger}', '00000000-0000-0000-0000-000000000000', 'x', '{}', 'local',
                     'wings')",
            directory.display()
        ))
        .await;
    eventually("it is absent", async || {
        beside.is_absent(stranger).await.then_some(())
    })
    .await;
    beside.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_absent_only_after_a_complete_list_without_it() {
    let beside = Beside::start(&FAST).await;
    let servers: Vec<Uuid> = (0..3).map(|_| beside.panel.add_server()).collect();
    let gone = servers[1];
    beside.listed().await;
    for (fault, result) in [
        (Fault::ShortList, "incomplete"),
        (Fault::EmptyList, "incomplete"),
        (Fault::CutBody, "failed"),
        (Fault::HtmlOk, "failed"),
        (Fault::HtmlNotFound, "failed"),
        (Fault::Forbidden, "failed"),
        (Fault::JsonError, "failed"),
    ] {
        beside.panel.set_fault(fault.clone());
        beside.lists_read(result, 1.0).await;
        let absent = "(SELECT count(*) FROM servers WHERE absent_since IS NOT NULL)";
        assert_eq!(
            beside.sql(&format!("SELECT {absent}")).await,
            "0",
            "{fault:?}"
        );
        beside.panel.set_fault(Fault::None);
    }

    let row = beside.panel.server(gone).unwrap();
    beside.panel.forget_server(gone);
    eventually("it is absent", async || {
        beside.is_absent(gone).await.then_some(())
    })
    .await;
    for server in [servers[0], servers[2]] {
        assert!(!beside.is_absent(server).await);
    }
    eventually("it is in the metrics", async || {
        let absent = beside
            .metric("holdfast_panel_absent_servers", "local")
            .await;
        (absent > 0.5).then_some(())
    })
    .await;
    // And it is back.
    beside.panel.change(|state| state.servers.insert(gone, row));
    eventually("it is back", async || {
        (!beside.is_absent(gone).await).then_some(())
    })
    .await;
    beside.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_server_and_its_directory_stay_as_they_are() {
    let beside = Beside::start(&FAST).await;
    // The operator has registered one of the panel's servers, elsewhere.
    let registered = beside.app.server.id.0;
    // And another server in the directory of one of the panel's.
    let taken = Uuid::new_v4();
    let other = beside.app.another_server("elsewhere").await;
    let inside = beside.wings.directory(taken).join("world");
    beside
        .sql(&format!(
            "UPDATE servers SET directory = '{}' WHERE id = '{}'",
            inside.display(),
            other.id
        ))
        .await;
    beside.insert(registered, 0);
    beside.insert(taken, 0);
    let third = beside.panel.add_server();
    beside.listed().await;
    let row = beside
        .server_row(registered, "name || ' ' || directory")
        .await;
    assert_eq!(row, format!("Survival {}", beside.app.directory.display()));
    assert_eq!(beside.server_row(registered, "managed_by").await, "");
    assert_eq!(beside.server_row(taken, "count(*)").await, "0");
    assert_eq!(beside.server_row(third, "managed_by").await, "wings");
    beside.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_moved_here_is_taken_over_when_its_job_has_ended() {
    let beside = Beside::start(&FAST).await;
    let other = beside.panel.add_node(NodeKey::random());
    let server = Uuid::new_v4();
    beside.insert(server, other);
    // That of another panel, whose UUID this panel lists, stays where it is.
    let foreign = Uuid::new_v4();
    beside.insert(foreign, 0);
    beside
        .sql(&format!(
            "INSERT INTO servers (id, owner_id, name, directory, node, managed_by, panel, synced_at)
             VALUES ('{server}', '00000000-0000-0000-0000-000000000000', 'x', '/old/{server}',
                     'far', 'wings', '{}', now()),
                    ('{foreign}', '00000000-0000-0000-0000-000000000000', 'x',
                     '/old/{foreign}', 'far', 'wings', 'https://another.example.com', now());
             INSERT INTO backups (id, server_id, name, disk, node, state, created_at, managed_by)
             VALUES ('{server}', '{server}', 'x', 'local', 'far', 'creating', now(), 'wings');
             INSERT INTO jobs (kind, server_id, backup_id, node, args, max_attempts)
             VALUES ('create_backup', '{server}', '{server}', 'far', '{{}}', 1)",
            beside.panel.url()
        ))
        .await;
    beside.panel.change_server(server, |row| row.node = 0);
    beside.listed().await;
    assert_eq!(beside.server_row(server, "node").await, "far");
    beside
        .sql(&format!(
            "UPDATE jobs SET state = 'cancelled', finalized_at = now()
             WHERE server_id = '{server}';
             UPDATE backups SET state = 'failed', error = 'x', failed_at = now()
             WHERE id = '{server}'"
        ))
        .await;
    eventually("it has moved", async || {
        let row = beside.server_row(server, "node || ' ' || directory").await;
        let expected = format!("local {}", beside.wings.directory(server).display());
        (row == expected).then_some(())
    })
    .await;
    assert_eq!(beside.server_row(foreign, "node").await, "far");
    // Its callback goes with it.
    eventually("the panel was asked", async || {
        (!beside.answers(server, false).is_empty()).then_some(())
    })
    .await;
    beside.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_forgotten_only_if_the_panel_then_says_that_it_is_gone() {
    let late = Duration::from_millis(20);
    let beside = Beside::start_with(Flavour::Pelican, late, &FAST).await;
    let (gone, moved, here) = (
        beside.add_server(),
        beside.add_server(),
        beside.add_server(),
    );
    let mut archives = Vec::new();
    for server in [gone, moved, here] {
        let backup = beside.create(server).await;
        beside.reported(backup).await;
        archives.push(beside.app.disk.join(format!("{server}/{backup}.tar.gz")));
    }
    let other = beside.panel.add_node(NodeKey::random());
    beside.panel.forget_server(gone);
    beside.panel.change_server(moved, |row| row.node = other);
    for server in [gone, moved] {
        eventually("it is absent", async || {
            beside.is_absent(server).await.then_some(())
        })
        .await;
    }
    // Long absent, but the list cannot be trusted at the moment.
    beside.panel.set_fault(Fault::ShortList);
    beside.lists_read("incomplete", 2.0).await;
    let age = "UPDATE servers SET absent_since = now() - interval '31 days'
               WHERE absent_since IS NOT NULL";
    beside.sql(age).await;
    beside.lists_read("incomplete", 2.0).await;
    assert!(archives[0].exists());
    beside.panel.set_fault(Fault::None);
    let row = format!("NOT EXISTS (SELECT 1 FROM servers WHERE id = '{gone}')");
    beside.waits(&row).await;
    assert!(!archives[0].exists());
    beside.listed().await;
    assert!(archives[1].exists() && archives[2].exists());
    assert_eq!(beside.server_row(moved, "deleting_at IS NULL").await, "t");
    let log = beside
        .app
        .sql()
        .query("SELECT command, subject FROM operator_actions WHERE subject IS NOT NULL");
    let gone_text = Some(gone.to_string());
    let command = Some("wings.forget_after_days".to_owned());
    assert_eq!(log.await, [[command, gone_text]]);
    // The directory is not Holdfast's to remove.
    assert!(beside.wings.directory(gone).exists());
    beside.stop().await;
}
