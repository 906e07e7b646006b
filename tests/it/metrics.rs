//! `/metrics`: its contents over a whole life, who may read it, and that dashboards and rules use
//! existing names.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::json;

use crate::support::app::App;
use crate::support::client::{Answer, send};
use crate::support::eventually;
use crate::support::files;
use crate::support::process::{Process, holdfast};

async fn metrics(app: &App, headers: &[(&str, &str)]) -> Answer {
    let url = app.base_url_of("/metrics");
    let mut request = app.as_anonymous().plain(Method::GET, &url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(request).await
}

/// Every line, as its name with labels and its value.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// A service whose life contains everything that is counted.
async fn a_whole_life() -> (App, String) {
    let mut app = App::start().await;
    files::make_server(&app.directory);
    let kept = app.backup().await;
    let gone = app.backup().await;
    app.failed_backup().await;
    let owner = app.as_owner();
    assert_eq!(owner.restore(&kept, json!({})).await.status, 202);
    assert_eq!(app.restored(&kept).await["status"], "completed");
    assert_eq!(owner.delete(&gone).await.status, 204);
    assert_eq!(app.as_anonymous().list("").await.status, 401);
    // An archive that is missing, and a worker.
    let lost = app.backup().await;
    fs_err::remove_file(app.archive(&lost)).unwrap();
    let link = owner.download(&lost).await.link();
    assert_eq!(send(owner.plain(Method::GET, &link)).await.status, 404);
    app.sql()
        .query(&format!(
            "INSERT INTO jobs (kind, server_id, backup_id, node, state, claimed_by, \
             lease_expires_at, attempt)
             VALUES ('delete_backup', '{}', '{kept}', 'nowhere', 'running', 'gone', \
             now() - interval '1 hour', 1)",
            app.server.id
        ))
        .await;
    eventually("the job is rescued", async || {
        let left = "SELECT count(*) FROM jobs WHERE state = 'running'";
        (app.sql().number(left).await == 0).then_some(())
    })
    .await;
    // A schedule that has succeeded once, and is overdue.
    app.sql()
        .query(&format!(
            "INSERT INTO schedules (server_id, name, minute, hour, day_of_month, month, \
             day_of_week, last_success_at, overdue_at)
             VALUES ('{}', 'Nightly', '0', '4', '*', '*', '*', to_timestamp(1700000000), \
             now() - interval '1 hour')",
            app.server.id
        ))
        .await;
    app.add_worker(&[("worker.node", "elsewhere"), ("worker.concurrency", "3")]);
    eventually("both workers are there", async || {
        let there = "SELECT count(*) FROM workers";
        (app.sql().number(there).await == 2).then_some(())
    })
    .await;
    let answer = metrics(&app, &[]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let text = String::from_utf8(answer.bytes).unwrap();
    (app, text)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_shown_and_dashboards_and_rules_use_no_other() {
    let (app, text) = a_whole_life().await;
    let samples = samples(&text);
    let backups = "/api/client/servers/{server}/backups";
    for (name, value) in [
        (
            format!(
                r#"holdfast_http_requests_total{{route="{backups}",method="POST",status="200"}}"#
            ),
            4.0,
        ),
        (
            format!(
                r#"holdfast_http_requests_total{{route="{backups}",method="GET",status="401"}}"#
            ),
            1.0,
        ),
        (
            format!(
                "holdfast_http_requests_total{{route=\"{backups}/{{backup}}\",\
                 method=\"DELETE\",status=\"204\"}}"
            ),
            1.0,
        ),
        (
            format!(
                "holdfast_http_request_duration_seconds_count\
                 {{route=\"{backups}/{{backup}}/restore\"}}"
            ),
            1.0,
        ),
        (
            r#"holdfast_jobs_ended_total{kind="create_backup",outcome="completed"}"#.to_owned(),
            3.0,
        ),
        (
            r#"holdfast_jobs_ended_total{kind="create_backup",outcome="discarded"}"#.to_owned(),
            1.0,
        ),
        (
            r#"holdfast_jobs_ended_total{kind="restore_backup",outcome="completed"}"#.to_owned(),
            1.0,
        ),
        (
            r#"holdfast_job_failures_total{kind="create_backup",reason="source_missing"}"#
                .to_owned(),
            1.0,
        ),
        (
            r#"holdfast_job_duration_seconds_count{kind="create_backup"}"#.to_owned(),
            3.0,
        ),
        (
            r#"holdfast_lease_rescues_total{kind="delete_backup",outcome="available"}"#.to_owned(),
            1.0,
        ),
        ("holdfast_backup_ratio_count".to_owned(), 3.0),
        (
            r#"holdfast_storage_operations_total{disk="local",operation="upload"}"#.to_owned(),
            9.0,
        ),
        (
            r#"holdfast_storage_errors_total{disk="local",operation="open",reason="not_found"}"#
                .to_owned(),
            1.0,
        ),
        (
            r#"holdfast_jobs{kind="delete_backup",state="available"}"#.to_owned(),
            1.0,
        ),
        (
            r#"holdfast_worker_jobs_running{kind="create_backup"}"#.to_owned(),
            0.0,
        ),
        ("holdfast_worker_concurrency".to_owned(), 5.0),
        (r#"holdfast_workers{node="local"}"#.to_owned(), 1.0),
        ("holdfast_database_up".to_owned(), 1.0),
        ("holdfast_database_connections_max".to_owned(), 6.0),
    ] {
        assert_eq!(samples.get(&name), Some(&value), "{name} in\n{text}");
    }
    let source = samples["holdfast_backup_source_bytes_total"];
    let archived = samples["holdfast_backup_archive_bytes_total"];
    assert!(source > 0.0 && archived > 0.0, "{source} {archived}");
    check_reuse(&samples);
    let written = samples[r#"holdfast_storage_bytes_total{disk="local",direction="written"}"#];
    assert!(written > archived, "{written} {archived}");
    assert!(samples[r#"holdfast_queue_age_seconds{node="nowhere"}"#] > 0.0);

    let last = "SELECT floor(extract(epoch FROM max(completed_at)))::bigint FROM backups";
    let last = app.sql().number(last).await;
    let server = app.server.id;
    let name = format!(r#"holdfast_server_last_backup_timestamp_seconds{{server="{server}"}}"#);
    let shown = samples[&name];
    assert!((shown - last as f64).abs() < 1.0, "{shown} is not {last}");
    let schedule = format!(r#"{{server="{server}",schedule="1"}}"#);
    let success = format!("holdfast_schedule_last_success_timestamp_seconds{schedule}");
    assert_eq!(samples.get(&success), Some(&1_700_000_000.0), "{text}");
    let overdue = format!("holdfast_schedule_overdue_seconds{schedule}");
    assert!((3600.0..4000.0).contains(&samples[&overdue]), "{text}");
    // Only these metrics may name a server. None names a backup or a path.
    for other in samples.keys() {
        let may = *other == name || *other == success || *other == overdue;
        assert!(may || !other.contains(&server.to_string()), "{other}");
    }
    check_what_is_deployed(&samples);
    app.stop().await;
}

/// Checks what is counted of three backups: the first one, the next one, and one after a restore.
/// Where the file system does not tell of all changes, the last two read every file.
fn check_reuse(samples: &BTreeMap<String, f64>) {
    let modes = samples
        .iter()
        .filter(|(name, _)| name.starts_with("holdfast_backups_completed_total"));
    let modes: Vec<(&str, f64)> = modes.map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(
        modes,
        [
            (
                r#"holdfast_backups_completed_total{mode="full",reason="first"}"#,
                1.0
            ),
            (
                r#"holdfast_backups_completed_total{mode="reread",reason="restore"}"#,
                1.0
            ),
            (
                r#"holdfast_backups_completed_total{mode="reused",reason=""}"#,
                1.0
            ),
        ]
    );
    let bytes = |kind: &str| samples[&format!(r#"holdfast_backup_bytes_total{{kind="{kind}"}}"#)];
    let archives = samples["holdfast_backup_archive_bytes_total"];
    assert!((bytes("reused") + bytes("packed") - archives).abs() < 0.5);
    let source = samples["holdfast_backup_source_bytes_total"];
    assert!(bytes("read") > 0.0 && bytes("read") <= source);
    assert!(bytes("stored") > 0.0 && bytes("stored") <= archives);
}

/// Checks that the dashboard and the rules in `deploy/` use existing names and labels.
fn check_what_is_deployed(samples: &BTreeMap<String, f64>) {
    let mut names = BTreeSet::new();
    let mut labels: BTreeSet<&str> = ["le", "instance", "job", "severity"].into();
    for sample in samples.keys() {
        let (name, rest) = sample.split_once('{').unwrap_or((sample, ""));
        names.insert(name);
        let pairs = rest.trim_end_matches('}').split("\",");
        labels.extend(pairs.filter_map(|pair| Some(pair.split_once('=')?.0)));
    }
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    for file in ["prometheus/holdfast.rules.yml", "grafana/holdfast.json"] {
        let text = fs_err::read_to_string(format!("{root}/deploy/{file}")).unwrap();
        let mut asked: Vec<&str> = text
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| word.starts_with("holdfast_"))
            .collect();
        asked.sort_unstable();
        asked.dedup();
        assert!(asked.len() > 10, "{file}: {asked:?}");
        for name in asked {
            assert!(
                names.contains(name),
                "{file} asks for {name}, which is not shown"
            );
        }
        for list in text.split("by (").skip(1) {
            for label in list.split(')').next().unwrap().split(", ") {
                assert!(
                    labels.contains(label),
                    "{file} sums by {label}, which no figure has"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_shown_only_to_allowed_networks_and_not_through_unknown_proxies() {
    let mut app = App::without_worker(&[]).await;
    assert_eq!(metrics(&app, &[]).await.status, 200);
    let code = "AccessDeniedHttpException".to_owned();
    for header in ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"] {
        let refused = metrics(&app, &[(header, "127.0.0.1")]).await.refusal();
        let text =
            "This IP address (behind an unknown proxy) may not see the metrics of this service.";
        assert_eq!(refused, (403, code.clone(), text.to_owned()), "{header}");
    }
    let behind = [
        ("http.trusted_proxies", "127.0.0.1"),
        ("metrics.allowed_networks", "10.1.0.0/16"),
    ];
    let behind = app.add_api(&behind).await;
    let everybody = [("metrics.allowed_networks", "0.0.0.0/0")];
    let everybody = app.add_api(&everybody).await;
    let anonymous = app.as_anonymous();
    for (api, forwarded, status) in [
        (&behind, Some("10.1.2.3"), 200),
        (&behind, Some("10.2.2.3"), 403),
        (&behind, None, 403),
        (&everybody, Some("10.2.2.3"), 200),
        (&everybody, None, 200),
    ] {
        let mut request = anonymous.plain(Method::GET, &format!("{api}/metrics"));
        if let Some(address) = forwarded {
            request = request.header("X-Forwarded-For", address);
        }
        assert_eq!(send(request).await.status, status, "{api} {forwarded:?}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_database_a_service_shows_its_own_counters() {
    let app = App::without_worker(&[]).await;
    // The queries fail, as if the database were away.
    app.sql().query("ALTER TABLE jobs RENAME TO gone").await;
    let text = String::from_utf8(metrics(&app, &[]).await.bytes).unwrap();
    let samples = samples(&text);
    assert_eq!(samples["holdfast_database_up"], 0.0);
    assert!(samples.contains_key("holdfast_database_connections_max"));
    assert!(!text.contains("holdfast_queue_age_seconds"), "{text}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_shows_its_metrics_on_a_separate_address() {
    let app = App::without_worker(&[]).await;
    let folder = files::scratch();
    let url = app.sql().url();
    let settings = [
        ("database.url", url.as_str()),
        ("metrics.listen", "127.0.0.1:0"),
    ];
    let mut command = holdfast(&settings);
    command
        .args(["worker", "--data"])
        .arg(folder.path().join("data"));
    let worker = Process::start(&mut command, folder.path());
    let address = eventually("the worker says where", async || {
        let log = worker.log();
        let line = log
            .lines()
            .find(|line| line.contains("serving metrics"))?
            .to_owned();
        Some(line.split_once("address=")?.1.trim().to_owned())
    })
    .await;
    let get = async |path: &str| {
        let request = app
            .as_anonymous()
            .plain(Method::GET, &format!("http://{address}{path}"));
        send(request).await
    };
    let text = String::from_utf8(get("/metrics").await.bytes).unwrap();
    let samples = samples(&text);
    assert_eq!(samples["holdfast_worker_concurrency"], 2.0, "{text}");
    // The APIs report what only the database knows.
    assert!(!text.contains("holdfast_queue_age_seconds"), "{text}");
    assert!(!text.contains("holdfast_database_up"), "{text}");
    assert_eq!(get("/healthz").await.status, 200);
    assert_eq!(get("/api/docs").await.status, 404);
    app.stop().await;
}
