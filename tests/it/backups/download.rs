//! `GET …/backups/{backup}/download`, and the download behind its link.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::Method;
use reqwest::header::{IF_RANGE, RANGE};
use serde_json::json;
use uuid::Uuid;

use holdfast_db::subusers;
use holdfast_domain::key::{KeyIdentifier, KeyKind};
use holdfast_domain::{Permission, Profile, ServerState};

use crate::support::app::App;
use crate::support::client::{Answer, Client, send};
use crate::support::fixtures;
use crate::support::{eventually, files};

/// A service with one backup, the link to it, and the size of its archive.
async fn with_link(size_bytes: usize) -> (App, String, String, usize) {
    with_link_on(FILES, size_bytes).await
}

pub(super) type Settings = &'static [(&'static str, &'static str)];

/// A disk that sends archives as files, and one that decrypts them on the way.
pub(super) const FILES: Settings = &[];
pub(super) const ENCRYPTED: Settings = &[
    ("storage.disks.local.encryption", "age"),
    (
        "storage.disks.local.age_identity",
        "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX",
    ),
];

pub(super) async fn with_link_on(
    disk: Settings,
    size_bytes: usize,
) -> (App, String, String, usize) {
    let app = App::start_with(disk).await;
    let noise = files::noise(size_bytes, 3);
    files::write(&app.directory.join("world.dat"), &noise);
    let uuid = app.backup().await;
    let link = app.as_owner().download(&uuid).await.link();
    let size = app.as_owner().show(&uuid).await.attributes()["bytes"].clone();
    let size = usize::try_from(size.as_u64().unwrap()).unwrap();
    (app, uuid, link, size)
}

pub(super) async fn fetch(client: &Client, link: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = client.plain(Method::GET, link);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(request).await
}

fn invalid() -> (u16, String, String) {
    let text = "This download link is invalid or has expired.";
    (403, "InvalidDownloadTokenException".into(), text.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_downloaded_archive_unpacks_to_the_files_that_were_backed_up() {
    let app = App::start().await;
    files::make_server(&app.directory);
    let uuid = app.backup().await;
    let granted = app.as_owner().download(&uuid).await;
    insta::assert_json_snapshot!("link", granted.redacted());

    let archive = fetch(&app.as_anonymous(), &granted.link(), &[]).await;
    assert_eq!(archive.status, 200);
    let backup = app.as_owner().show(&uuid).await.attributes();
    assert_eq!(backup["sha256_hash"], files::sha256(&archive.bytes));
    assert_eq!(backup["bytes"], archive.bytes.len());
    assert_eq!(archive.header("content-type"), "application/gzip");
    assert_eq!(
        archive.header("content-disposition"),
        format!("attachment; filename=\"{uuid}.tar.gz\"")
    );
    assert_eq!(archive.header("content-encoding"), "");
    let caching = "private, no-store, no-transform";
    assert_eq!(archive.header("cache-control"), caching);

    let file = app.beside("downloaded.tar.gz");
    fs_err::write(&file, &archive.bytes).unwrap();
    let expected = files::tree(&app.directory);
    let mut names: Vec<String> = files::list(&file)
        .iter()
        .map(|name| name.trim_end_matches('/').to_owned())
        .collect();
    names.sort();
    let mut there: Vec<&str> = expected.keys().map(|path| path.to_str().unwrap()).collect();
    there.sort_unstable();
    assert_eq!(names, there, "no `./`, and no entry for the root");
    let unpacked = app.beside("unpacked");
    files::unpack(&file, &unpacked);
    assert_eq!(files::tree(&unpacked), expected);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_get_and_post_creates_a_new_link() {
    let (app, uuid, link, _) = with_link(100).await;
    let again = app.as_owner().download(&uuid).await.link();
    assert_ne!(link, again);
    let post = app
        .as_owner()
        .request(Method::POST, &format!("/{uuid}/download"));
    let posted = send(post).await.link();
    for link in [link, again, posted] {
        assert_eq!(fetch(&app.as_anonymous(), &link, &[]).await.status, 200);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn head_returns_the_size_and_no_body() {
    for disk in [FILES, ENCRYPTED] {
        let (app, _, link, size) = with_link_on(disk, 10_000).await;
        let head = send(app.as_anonymous().plain(Method::HEAD, &link)).await;
        assert_eq!((head.status, head.bytes.len()), (200, 0));
        assert_eq!(head.header("content-length"), size.to_string());
        assert_eq!(head.header("accept-ranges"), "bytes");
        assert!(head.header("etag").starts_with('"'), "{:?}", head.headers);
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_outside_of_the_archive_is_refused_in_json() {
    for disk in [FILES, ENCRYPTED] {
        let (app, _, link, size) = with_link_on(disk, 100).await;
        let range = format!("bytes={size}-");
        let answer = fetch(&app.as_anonymous(), &link, &[("range", &range)]).await;
        let (status, code, _) = answer.refusal();
        assert_eq!(status, 416, "{code}");
        assert_eq!(answer.header("content-range"), format!("bytes */{size}"));
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_download_continues_where_it_stopped() {
    for disk in [FILES, ENCRYPTED] {
        let (app, uuid, link, size) = with_link_on(disk, 8_000_000).await;
        let anonymous = app.as_anonymous();
        let mut response = anonymous.plain(Method::GET, &link).send().await.unwrap();
        let etag = response.headers()["etag"].clone();
        let mut bytes = Vec::new();
        while bytes.len() < 1_000_000 {
            bytes.extend_from_slice(&response.chunk().await.unwrap().unwrap());
        }
        drop(response);
        assert!(bytes.len() < size, "nothing was interrupted");
        let rest = anonymous
            .plain(Method::GET, &link)
            .header(RANGE, format!("bytes={}-", bytes.len()))
            .header(IF_RANGE, etag);
        let rest = send(rest).await;
        assert_eq!(rest.status, 206);
        bytes.extend_from_slice(&rest.bytes);
        let hash = app.as_owner().show(&uuid).await.attributes()["sha256_hash"].clone();
        assert_eq!(hash, files::sha256(&bytes));
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_of_another_version_returns_the_whole_archive() {
    for disk in [FILES, ENCRYPTED] {
        let (app, _, link, size) = with_link_on(disk, 100).await;
        let headers = [
            ("range", "bytes=50-"),
            ("if-range", "\"of-something-else\""),
        ];
        let answer = fetch(&app.as_anonymous(), &link, &headers).await;
        assert_eq!((answer.status, answer.bytes.len()), (200, size));
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_valid_for_an_hour() {
    let before = chrono::Utc::now().timestamp();
    let (app, _, link, _) = with_link(100).await;
    let after = chrono::Utc::now().timestamp();
    let claims = link.split('.').nth_back(1).unwrap();
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    let asked_at = claims["exp"].as_i64().unwrap() - 3600;
    assert!((before..=after).contains(&asked_at), "{claims}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_expires() {
    let app = App::start_with(&[("downloads.ttl_seconds", "1")]).await;
    let uuid = app.backup().await;
    let link = app.as_owner().download(&uuid).await.link();
    let anonymous = app.as_anonymous();
    let refused = eventually("the link has expired", async || {
        let answer = fetch(&anonymous, &link, &[]).await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!(refused.refusal(), invalid());
    let new = app.as_owner().download(&uuid).await.link();
    assert_ne!(new, link);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_link_is_refused() {
    let (app, _, link, _) = with_link(100).await;
    let (base, token) = link.split_once("?token=").unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        panic!("no JWT: {token}")
    };
    let changed = |text: &str| {
        let other = if text.starts_with('A') { 'B' } else { 'A' };
        format!("{other}{}", &text[1..])
    };
    for query in [
        String::new(),
        "?token=".to_owned(),
        "?token=x.y.z".to_owned(),
        format!("?token={}.{claims}.{signature}", changed(header)),
        format!("?token={header}.{}.{signature}", changed(claims)),
        format!("?token={header}.{claims}.{}", changed(signature)),
        format!("?token={header}.{claims}."),
        // {"alg":"none"}
        format!("?token=eyJhbGciOiJub25lIn0.{claims}."),
        format!("?other={token}"),
    ] {
        let answer = fetch(&app.as_anonymous(), &format!("{base}{query}"), &[]).await;
        assert_eq!(answer.refusal(), invalid(), "{query}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_ends_with_the_key_that_requested_it() {
    let app = App::start().await;
    let uuid = app.backup().await;
    let owner = app.owner_id();
    let key = app.key(owner, KeyKind::Client, Profile::Documented).await;
    let link = app.as_owner().with_token(&key).download(&uuid).await.link();
    let others = app.as_owner().download(&uuid).await.link();
    assert_eq!(fetch(&app.as_anonymous(), &link, &[]).await.status, 200);
    let identifier = KeyIdentifier::parse(&key[..16]).unwrap();
    assert!(fixtures::no_key(&app.database, &identifier).await.unwrap());
    let refused = fetch(&app.as_anonymous(), &link, &[]).await.refusal();
    assert_eq!(refused, invalid());
    assert_eq!(fetch(&app.as_anonymous(), &others, &[]).await.status, 200);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_ends_with_the_permission_to_download() {
    let app = App::start().await;
    let uuid = app.backup().await;
    let downloader = app.as_subuser(&[Permission::Download]).await;
    let link = downloader.download(&uuid).await.link();
    assert_eq!(fetch(&app.as_anonymous(), &link, &[]).await.status, 200);
    let subuser = subusers::list(&app.database, app.server.id).await.unwrap();
    let user = subuser[0].user;
    fixtures::subuser(&app.database, app.server.id, user, &[Permission::Read])
        .await
        .unwrap();
    let refused = fetch(&app.as_anonymous(), &link, &[]).await.refusal();
    assert_eq!(refused, invalid());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_ends_with_its_backup() {
    let (app, uuid, link, _) = with_link(100).await;
    assert_eq!(app.as_owner().delete(&uuid).await.status, 204);
    let answer = fetch(&app.as_anonymous(), &link, &[]).await;
    assert_eq!(answer.refusal().0, 404);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_archive_is_reported_without_its_path() {
    let (app, uuid, link, _) = with_link(100).await;
    fs_err::write(app.archive(&uuid), "of another size").unwrap();
    let answer = fetch(&app.as_anonymous(), &link, &[]).await;
    insta::assert_json_snapshot!("archive_missing", answer.redacted());
    fs_err::remove_file(app.archive(&uuid)).unwrap();
    let answer = fetch(&app.as_anonymous(), &link, &[]).await;
    insta::assert_json_snapshot!("archive_missing", answer.redacted());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_completed_backups_can_be_downloaded() {
    let app = App::start().await;
    let failed = app.failed_backup().await;
    app.sql()
        .query("UPDATE servers SET node = 'elsewhere'")
        .await;
    let creating = app.as_owner().create(json!({})).await.uuid();
    let refused = app.as_owner().download(&creating).await.refusal();
    let text = "This backup has not completed yet and cannot be downloaded.";
    assert_eq!(
        refused,
        (400, "BackupNotCompletedException".into(), text.into())
    );
    let refused = app.as_owner().download(&failed).await.refusal();
    let text = "This backup failed and cannot be downloaded.";
    assert_eq!(refused, (400, "BackupFailedException".into(), text.into()));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn downloads_work_in_every_state_of_the_server_and_during_a_backup() {
    let (mut app, uuid, link, _) = with_link(100).await;
    app.server.node = holdfast_domain::NodeName::parse("elsewhere").unwrap();
    app.save_server().await;
    app.as_owner().create(json!({})).await.uuid();
    for state in ServerState::ALL {
        app.server.state = state;
        app.save_server().await;
        assert_eq!(
            app.as_owner().download(&uuid).await.status,
            200,
            "{state:?}"
        );
        assert_eq!(
            fetch(&app.as_anonymous(), &link, &[]).await.status,
            200,
            "{state:?}"
        );
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_lead_to_the_configured_url() {
    let url = "https://files.example.com/holdfast/";
    let app = App::start_with(&[("downloads.public_url", url)]).await;
    let uuid = app.backup().await;
    let link = app.as_owner().download(&uuid).await.link();
    let path = link.strip_prefix("https://files.example.com/holdfast/download/backup?token=");
    assert!(path.is_some(), "{link}");
    let unknown = Uuid::new_v4().to_string();
    assert_eq!(app.as_owner().download(&unknown).await.status, 404);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_the_client_has_is_not_sent_again() {
    for disk in [FILES, ENCRYPTED] {
        let (app, _, link, size) = with_link_on(disk, 1000).await;
        let anonymous = app.as_anonymous();
        let etag = fetch(&anonymous, &link, &[])
            .await
            .header("etag")
            .to_owned();
        let answer = fetch(&anonymous, &link, &[("if-none-match", &etag)]).await;
        assert_eq!((answer.status, answer.bytes.len()), (304, 0));
        let answer = fetch(&anonymous, &link, &[("if-none-match", "\"another\"")]).await;
        assert_eq!((answer.status, answer.bytes.len()), (200, size));
        let answer = fetch(&anonymous, &link, &[("if-match", "\"another\"")]).await;
        assert_eq!(answer.status, 412);
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_gets_the_file_to_send_and_an_error_if_it_is_gone() {
    let app = App::start_with(&[("downloads.accel_path", "/archives/")]).await;
    let uuid = app.backup().await;
    let link = app.as_owner().download(&uuid).await.link();
    let answer = fetch(&app.as_anonymous(), &link, &[]).await;
    assert_eq!((answer.status, answer.bytes.len()), (200, 0));
    let server = app.server.id;
    let path = format!("/archives/local/{server}/{uuid}.tar.gz");
    assert_eq!(answer.header("x-accel-redirect"), path);
    assert_eq!(answer.header("content-type"), "application/gzip");
    assert_eq!(
        answer.header("content-disposition"),
        format!("attachment; filename=\"{uuid}.tar.gz\"")
    );
    fs_err::remove_file(app.archive(&uuid)).unwrap();
    let answer = fetch(&app.as_anonymous(), &link, &[]).await;
    assert_eq!(
        (answer.status, answer.header("x-accel-redirect")),
        (404, "")
    );
    app.stop().await;
}
