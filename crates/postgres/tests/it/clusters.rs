//! Tests that create, stop, kill and restart real clusters.

use rustix::process::Signal;

use holdfast_postgres::{Error, PostgresOptions, PrivatePostgres, running};

use crate::support::{Folder, OwnerProcess, eventually, is_alive, postmaster_of};

/// Starts the cluster of a folder without durability.
async fn start(folder: &Folder) -> Result<PrivatePostgres, Error> {
    PrivatePostgres::start(&folder.options()).await
}

#[tokio::test]
async fn a_cluster_starts_answers_stops_and_keeps_its_data() {
    let folder = Folder::new();
    let postgres = PrivatePostgres::start(&PostgresOptions::new(folder.cluster()))
        .await
        .unwrap();
    assert_eq!(
        running(&folder.cluster()).unwrap().unwrap(),
        *postgres.address()
    );
    let create = "CREATE TABLE kept (word text); INSERT INTO kept VALUES ('hold'), (NULL)";
    postgres.query("postgres", create).await.unwrap();
    let settings = "SELECT current_setting('fsync'), current_setting('listen_addresses'),
                    current_setting('server_encoding')";
    let rows = postgres.query("postgres", settings).await.unwrap();
    assert_eq!(
        rows,
        [["on", "", "UTF8"].map(|value| Some(value.to_owned()))]
    );
    let refused = postgres
        .query("postgres", "SELECT nonsense")
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("\"nonsense\" does not exist"),
        "{refused}"
    );
    let first = postmaster_of(&folder).unwrap();
    postgres.stop().await.unwrap();
    assert!(!is_alive(first));
    assert_eq!(running(&folder.cluster()).unwrap(), None);

    let postgres = start(&folder).await.unwrap();
    let rows = postgres
        .query("postgres", "SELECT word FROM kept")
        .await
        .unwrap();
    assert_eq!(rows, [[Some("hold".to_owned())], [None]]);
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn psql_accepts_the_url_of_a_folder_with_special_characters() {
    let folder = Folder::named("a b\"c\"%ü");
    let postgres = start(&folder).await.unwrap();
    let mut psql = tokio::process::Command::new("psql");
    let psql = psql
        .args(["-XAtc", "SELECT current_database()"])
        .arg(postgres.url("template1"));
    // The variables of the environment must have no effect.
    let output = psql
        .env("PGPORT", "1")
        .env("PGSSLMODE", "require")
        .output()
        .await
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "template1\n",
        "{output:?}"
    );
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn the_error_for_a_folder_in_use_names_the_process_that_owns_it() {
    let folder = Folder::new();
    let postgres = start(&folder).await.unwrap();
    let error = start(&folder).await.unwrap_err();
    assert!(matches!(&error, Error::InUse { pid, .. } if *pid == std::process::id().to_string()));
    postgres.query("postgres", "SELECT 1").await.unwrap();
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn postgres_does_not_outlive_an_owner_that_is_killed() {
    let folder = Folder::new();
    let owner = OwnerProcess::start(&folder);
    let postmaster = postmaster_of(&folder).unwrap();
    owner.kill();
    eventually("the guard stops postgres", || !is_alive(postmaster)).await;
    // It was a shutdown, not a crash.
    let log = folder.log();
    assert!(log.contains("received fast shutdown request"), "{log}");
    assert!(log.contains("database system is shut down"), "{log}");
    assert_eq!(running(&folder.cluster()).unwrap(), None);
}

#[tokio::test]
async fn a_killed_service_can_start_again_at_once() {
    let folder = Folder::new();
    let owner = OwnerProcess::start(&folder);
    owner.kill();
    start(&folder).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn an_orphan_whose_guard_was_killed_too_is_stopped_and_replaced() {
    let folder = Folder::new();
    let owner = OwnerProcess::start(&folder);
    let orphan = postmaster_of(&folder).unwrap();
    crate::support::kill_guards_of(orphan);
    owner.kill();
    assert!(is_alive(orphan), "both shells of its guard were killed");
    assert_eq!(
        running(&folder.cluster()).unwrap(),
        None,
        "no process owns it"
    );

    let postgres = start(&folder).await.unwrap();
    assert!(!is_alive(orphan));
    assert_ne!(postmaster_of(&folder).unwrap(), orphan);
    postgres.query("postgres", "SELECT 1").await.unwrap();
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_crashed_postgres_is_noticed_and_recovers_with_its_data() {
    let folder = Folder::new();
    let mut postgres = PrivatePostgres::start(&PostgresOptions::new(folder.cluster()))
        .await
        .unwrap();
    postgres
        .query("postgres", "CREATE TABLE kept AS SELECT 7 AS seven")
        .await
        .unwrap();
    crate::support::signal(postmaster_of(&folder).unwrap(), Signal::KILL);
    assert!(matches!(postgres.ended().await, Error::Ended { .. }));
    assert!(matches!(
        postgres.stop().await.unwrap_err(),
        Error::Ended { .. }
    ));

    let pid_file = folder.cluster().join("data/postmaster.pid");
    assert!(pid_file.exists(), "a crash leaves the file behind");
    let postgres = start(&folder).await.unwrap();
    let rows = postgres
        .query("postgres", "SELECT seven FROM kept")
        .await
        .unwrap();
    assert_eq!(rows, [[Some("7".to_owned())]]);
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_postgres_starts_again_at_the_same_address_with_its_data() {
    let folder = Folder::new();
    let mut postgres = PrivatePostgres::start(&PostgresOptions::new(folder.cluster()))
        .await
        .unwrap();
    let url = postgres.url("postgres");
    let create = "CREATE TABLE kept AS SELECT 7 AS seven";
    postgres.query("postgres", create).await.unwrap();
    for _ in 0..2 {
        let killed = postmaster_of(&folder).unwrap();
        crate::support::signal(killed, Signal::KILL);
        assert!(matches!(postgres.ended().await, Error::Ended { .. }));
        postgres.restart().await.unwrap();
        assert_ne!(postmaster_of(&folder).unwrap(), killed);
        assert_eq!(postgres.url("postgres"), url);
        let rows = postgres.query("postgres", "SELECT seven FROM kept").await;
        assert_eq!(rows.unwrap(), [[Some("7".to_owned())]]);
    }
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_process_id_that_was_reused_does_not_block_a_start_and_is_not_signalled() {
    let folder = Folder::new();
    start(&folder).await.unwrap().stop().await.unwrap();
    let mut other = crate::support::command_as_postgres("sleep")
        .arg("600")
        .spawn()
        .unwrap();
    let data = folder.cluster().join("data");
    let stale = format!("{}\n{}\n1\n5432\n", other.id(), data.display());
    fs_err::write(data.join("postmaster.pid"), &stale).unwrap();
    let lock = folder.cluster().join(".s.PGSQL.5432.lock");
    fs_err::write(lock, &stale).unwrap();

    start(&folder).await.unwrap().stop().await.unwrap();
    assert!(
        other.try_wait().unwrap().is_none(),
        "the other program is still running"
    );
    other.kill().unwrap();
    other.wait().unwrap();
}

#[tokio::test]
async fn the_postgres_of_another_folder_is_never_signalled() {
    let (other, folder) = (Folder::new(), Folder::new());
    let neighbour = start(&other).await.unwrap();
    start(&folder).await.unwrap().stop().await.unwrap();
    let theirs = fs_err::read(other.cluster().join("data/postmaster.pid")).unwrap();
    fs_err::write(folder.cluster().join("data/postmaster.pid"), theirs).unwrap();

    start(&folder).await.unwrap().stop().await.unwrap();
    neighbour.query("postgres", "SELECT 1").await.unwrap();
    neighbour.stop().await.unwrap();
}

#[tokio::test]
async fn ctrl_c_in_the_terminal_does_not_reach_postgres() {
    let folder = Folder::new();
    let postgres = start(&folder).await.unwrap();
    let postmaster = postmaster_of(&folder).unwrap();
    // The ID of a group from outside of this PID namespace is 0, which rustix's type excludes.
    let group = |process: &str| {
        let stat = fs_err::read_to_string(format!("/proc/{process}/stat")).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        fields.split(' ').nth(2).unwrap().to_owned()
    };
    let postmaster = postmaster.as_raw_nonzero().to_string();
    assert_ne!(group(&postmaster), group("self"));
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_dropped_cluster_shuts_down_by_itself() {
    let folder = Folder::new();
    let postgres = start(&folder).await.unwrap();
    let postmaster = postmaster_of(&folder).unwrap();
    drop(postgres);
    eventually("the guard stops postgres", || !is_alive(postmaster)).await;
}
