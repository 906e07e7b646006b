//! Jobs that are cancelled, or whose worker is asked to stop, in each phase. A bucket's server that
//! does not answer holds them there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Method;
use serde_json::json;

use crate::disks::{Bucket, make_server, objects, open_proxy, parts};
use crate::support::app::App;
use crate::support::client::send;
use crate::support::proxy::{Fault, Proxy};
use crate::support::s3::S3Server;
use crate::support::{eventually, files};

/// The requests of a phase.
type Belongs = fn(&str) -> bool;

/// The phases of a backup that wait for the bucket.
const OF_A_BACKUP: [(&str, Belongs); 3] = [
    ("before anything is read", |first| {
        // Requests for this backup only: others list the whole bucket.
        let of_one = first.matches("%2F").count() > 1;
        first.starts_with("GET") && first.contains("list-type") && of_one
    }),
    ("while parts are sent", |first| {
        first.contains("partNumber=1")
    }),
    ("while parts are put together", |first| {
        first.starts_with("POST") && first.contains("uploadId=")
    }),
];

/// Blocks all requests of a phase once a job gets there.
struct Silence {
    reached: Arc<AtomicBool>,
}

impl Silence {
    fn over(proxy: &Proxy, belongs: Belongs) -> Self {
        let reached = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&reached);
        proxy.plan(move |_, first| match belongs(first) {
            true => {
                seen.store(true, Ordering::SeqCst);
                Fault::Silence
            }
            false => Fault::None,
        });
        Self { reached }
    }

    /// Waits until a request is blocked. Other requests then pass again.
    async fn holds(&self, proxy: &Proxy) {
        eventually("the phase is reached", async || {
            self.reached.load(Ordering::SeqCst).then_some(())
        })
        .await;
        proxy.plan(|_, _| Fault::None);
    }
}

/// No worker has the job, and no attempt was counted.
pub(super) async fn assert_given_back(app: &App, when: &str) {
    let given_back = "SELECT count(*) FROM jobs
                      WHERE state = 'available' AND attempt = 0 AND jsonb_array_length(errors) = 0";
    assert_eq!(app.sql().number(given_back).await, 1, "{when}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_cancelled_in_any_phase_ends_at_once_and_leaves_nothing() {
    let server = S3Server::start().await;
    let proxy = open_proxy(&server).await;
    let mut app = Bucket::at(proxy.endpoint()).service().await;
    make_server(&app);
    app.add_worker(&[]);
    let owner = app.as_owner();
    for (when, belongs) in OF_A_BACKUP {
        let silence = Silence::over(&proxy, belongs);
        let uuid = owner.create(json!({})).await.uuid();
        silence.holds(&proxy).await;
        let cancel = owner.request(Method::POST, &format!("/{uuid}/cancel"));
        assert_eq!(send(cancel).await.status, 204, "{when}");
        let backup = owner.show(&uuid).await.attributes();
        let expected = "This backup was cancelled by owner@example.com.";
        assert_eq!(backup["error"], expected, "{when}");
        eventually("nothing is left", async || {
            (objects(&server).is_empty() && parts(&server) == 0).then_some(())
        })
        .await;
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_worker_stops_in_any_phase_is_completed_by_the_next() {
    let server = S3Server::start().await;
    let proxy = open_proxy(&server).await;
    let mut app = Bucket::at(proxy.endpoint()).service().await;
    make_server(&app);
    let owner = app.as_owner();
    for (when, belongs) in OF_A_BACKUP {
        app.add_worker(&[]);
        let silence = Silence::over(&proxy, belongs);
        let uuid = owner.create(json!({})).await.uuid();
        silence.holds(&proxy).await;
        app.stop_workers().await;
        assert_given_back(&app, when).await;
        assert_eq!((objects(&server).len(), parts(&server)), (0, 0), "{when}");
        app.add_worker(&[]);
        let backup = app.ended(&uuid).await;
        assert_eq!(backup["status"], "completed", "{when}: {backup}");
        assert_eq!(objects(&server).len(), 3, "{when}");
        assert_eq!(owner.delete(&uuid).await.status, 204);
        app.stop_workers().await;
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_whose_worker_stops_while_it_fetches_is_completed_by_the_next() {
    let server = S3Server::start().await;
    let proxy = open_proxy(&server).await;
    let mut app = Bucket::at(proxy.endpoint()).service().await;
    make_server(&app);
    app.add_worker(&[]);
    let uuid = app.backup().await;
    let before = files::tree(&app.directory);
    fs_err::remove_dir_all(app.directory.join("world")).unwrap();
    let damaged = files::tree(&app.directory);
    let silence = Silence::over(&proxy, |first| {
        first.starts_with("GET") && first.contains(".tar.gz")
    });
    assert_eq!(app.as_owner().restore(&uuid, json!({})).await.status, 202);
    silence.holds(&proxy).await;
    app.stop_workers().await;
    assert_given_back(&app, "while it fetches").await;
    assert_eq!(files::tree(&app.directory), damaged, "nothing is changed");
    app.add_worker(&[]);
    assert_eq!(app.restored(&uuid).await["status"], "completed");
    assert_eq!(files::tree(&app.directory), before);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_whose_worker_stops_is_completed_by_the_next() {
    let server = S3Server::start().await;
    let proxy = open_proxy(&server).await;
    let mut app = Bucket::at(proxy.endpoint()).service().await;
    make_server(&app);
    app.add_worker(&[]);
    let uuid = app.backup().await;
    let silence = Silence::over(&proxy, |first| {
        first.starts_with("DELETE") || first.contains("?delete")
    });
    let owner = app.as_owner();
    let asked = tokio::spawn(async move { owner.delete(&uuid).await.status });
    silence.holds(&proxy).await;
    app.stop_workers().await;
    assert_given_back(&app, "while it deletes").await;
    app.add_worker(&[]);
    assert_eq!(asked.await.unwrap(), 204, "who asked has waited");
    assert_eq!(objects(&server), [""; 0]);
    app.stop().await;
}
