//! Postgres itself is killed in the middle of a backup, and comes back.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use holdfast_postgres::{Options, PrivatePostgres};

use super::full::start_postgres;
use super::{SLOWLY, assert_kept, finished, make_server, under_way};
use crate::support::app::App;
use crate::support::files;

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_crashes_in_the_middle_of_a_backup_and_comes_back_is_told_of_the_archive() {
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

    let file = fs_err::read_to_string(cluster.join("data/postmaster.pid")).unwrap();
    let number = file.lines().next().unwrap().parse().unwrap();
    kill_process(Pid::from_raw(number).unwrap(), Signal::QUIT).unwrap();
    let _why = postgres.ended().await;
    let answer = owner.create(json!({})).await;
    assert_eq!(answer.refusal().0, 503);
    assert_eq!(answer.header("retry-after"), "5");
    finished(&app).await;
    assert_eq!(owner.show(&uuid).await.status, 503);

    drop(postgres);
    let postgres = PrivatePostgres::start(&Options::new(&cluster))
        .await
        .unwrap();
    let backup = crate::support::eventually("the backup has ended", async || {
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
