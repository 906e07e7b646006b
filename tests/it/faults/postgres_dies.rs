//! PostgreSQL is killed in the middle of a backup and restarted, or it hangs.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use holdfast_postgres::{PostgresOptions, PrivatePostgres};

use super::full_disks::start_postgres;
use super::{SLOWLY, assert_kept, finished, make_server, under_way};
use crate::support::app::App;
use crate::support::process::{Process, holdfast, run};
use crate::support::{eventually, files};

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_completes_after_postgres_crashes_and_recovers() {
    let folder = files::scratch();
    let cluster = folder.path().join("postgres");
    let mut postgres = start_postgres(&cluster).await;
    let url = postgres.url("postgres");
    let mut app = App::without_worker(&[("database.url", &url)]).await;
    make_server(&app);
    app.add_worker(&[SLOWLY]);
    let owner = app.as_owner();
    let uuid = owner.create(json!({})).await.uuid();
    under_way(&app).await;

    kill_process(postmaster(&cluster), Signal::QUIT).unwrap();
    let _why = postgres.ended().await;
    let answer = owner.create(json!({})).await;
    assert_eq!(answer.refusal().0, 503);
    assert_eq!(answer.header("retry-after"), "5");
    finished(&app).await;
    assert_eq!(owner.show(&uuid).await.status, 503);

    drop(postgres);
    let postgres = PrivatePostgres::start(&PostgresOptions::new(&cluster))
        .await
        .unwrap();
    let backup = eventually("the backup has ended", async || {
        let shown = owner.show(&uuid).await;
        let backup = &shown.json()["attributes"];
        (shown.status == 200 && backup["status"] != "creating").then(|| backup.clone())
    })
    .await;
    assert_kept(&app, &backup);
    let tries = "SELECT attempt + jsonb_array_length(errors) FROM jobs";
    let rows = postgres.query("postgres", tries).await.unwrap();
    assert_eq!(rows[0][0].as_deref(), Some("1"));
    app.stop().await;
    postgres.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn up_starts_its_own_postgres_again_a_limited_number_of_times() {
    let folder = files::scratch();
    let data = folder.path().join("data");
    let (mut up, url) = Process::up(&data, &[]).await;
    let cluster = data.join("postgres");
    let mut health = holdfast(&[]);
    health.args(["healthcheck", "--url", &url]);
    for _ in 0..5 {
        let killed = postmaster(&cluster);
        kill_process(killed, Signal::KILL).unwrap();
        eventually("another one accepts connections", async || {
            let file = fs_err::read_to_string(cluster.join("data/postmaster.pid")).ok()?;
            let is_ready = file.lines().nth(7)?.trim() == "ready";
            (is_ready && postmaster(&cluster) != killed).then_some(())
        })
        .await;
        eventually("the service is healthy again", async || {
            (run(&mut health).code == Some(0)).then_some(())
        })
        .await;
    }
    kill_process(postmaster(&cluster), Signal::KILL).unwrap();
    assert_eq!(up.ended().await.code(), Some(1));
    let log = up.log();
    assert_eq!(
        log.matches("PostgreSQL is started again").count(),
        5,
        "{log}"
    );
    assert!(log.contains("ended unexpectedly"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_and_a_worker_stop_although_the_database_hangs() {
    let folder = files::scratch();
    let cluster = folder.path().join("postgres");
    let postgres = start_postgres(&cluster).await;
    let url = postgres.url("postgres");
    let start = |arguments: &[&str]| {
        let mut command = holdfast(&[("database.url", &url)]);
        command.args(arguments).arg("--data");
        command.arg(folder.path().join("data"));
        Process::start(&mut command, folder.path())
    };
    let mut api = start(&["serve", "--listen", "127.0.0.1:0"]);
    api.url().await;
    let mut worker = start(&["worker"]);
    eventually("the worker takes jobs", async || {
        worker.log().contains("the worker is ready").then_some(())
    })
    .await;
    signal_all(&cluster, Signal::STOP);
    let begun = Instant::now();
    eventually("the worker has asked in vain", async || {
        (begun.elapsed() > Duration::from_secs(2)).then_some(())
    })
    .await;
    for process in [&mut api, &mut worker] {
        process.signal(Signal::TERM);
        assert!(process.ended().await.success(), "{}", process.log());
    }
    signal_all(&cluster, Signal::CONT);
    postgres.stop().await.unwrap();
}

fn postmaster(cluster: &Path) -> Pid {
    let file = fs_err::read_to_string(cluster.join("data/postmaster.pid")).unwrap();
    let number = file.lines().next().unwrap().parse().unwrap();
    Pid::from_raw(number).unwrap()
}

/// Signals the postmaster, and then each of its children.
fn signal_all(cluster: &Path, signal: Signal) {
    let postmaster = postmaster(cluster);
    kill_process(postmaster, signal).unwrap();
    for entry in fs_err::read_dir("/proc").unwrap() {
        let path = entry.unwrap().path();
        let stat = fs_err::read_to_string(path.join("stat")).unwrap_or_default();
        // The fields after the name, which may contain anything: the state, and the parent.
        let parent = stat.rsplit(')').next().unwrap().split_whitespace().nth(1);
        if parent.and_then(|parent| parent.parse().ok()) == Some(postmaster.as_raw_nonzero().get())
        {
            let child = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            kill_process(Pid::from_raw(child).unwrap(), signal).unwrap();
        }
    }
}
