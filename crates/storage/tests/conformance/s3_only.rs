//! Tests of S3 only: presigned URLs.

use std::time::Duration;

use holdfast_storage::Disk;

use crate::objects::{key, noise, put};
use crate::places::{self, Place};
use crate::s3::S3Server;

/// Sends a plain GET request, and returns the response's head and body.
async fn get(url: &str) -> (String, Vec<u8>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap()
        + 4;
    let body = answer.split_off(end);
    (String::from_utf8(answer).unwrap().to_lowercase(), body)
}

async fn a_presigned_url_works_and_expires(place: Option<Place>) {
    let Some(place) = place else { return };
    let disk = &place.disk;
    let content = noise(5_000);
    put(disk, key(1), &content).await.unwrap();
    let link = async |ttl| {
        let link = disk.presigned_url(key(1), "world \"1\";.tar.gz", Duration::from_secs(ttl));
        link.await.unwrap().unwrap()
    };
    let url = link(3600).await;
    assert!(url.contains("X-Amz-Expires=3600"), "{url}");
    let (head, body) = get(&url).await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let disposition = "content-disposition: attachment; filename=\"world1.tar.gz\"";
    assert!(head.contains(disposition), "{head}");
    assert!(head.contains("content-type: application/gzip"), "{head}");
    assert!(head.contains("content-length: 5000"), "{head}");
    assert!(body == content);

    let (head, _) = get(&url.replace(".tar.gz", ".index")).await;
    assert!(head.starts_with("http/1.1 403"), "a changed link: {head}");
    let url = link(1).await;
    // One second is the shortest lifetime of a URL.
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let (head, _) = get(&url).await;
    let is_refused = head.starts_with("http/1.1 403") || head.starts_with("http/1.1 400");
    assert!(is_refused, "an expired link: {head}");
}

#[tokio::test]
async fn a_presigned_url_of_s3s_works_and_expires() {
    a_presigned_url_works_and_expires(places::s3s().await).await;
}

#[tokio::test]
async fn a_presigned_url_of_the_external_server_works_and_expires() {
    a_presigned_url_works_and_expires(places::outside().await).await;
}

#[tokio::test]
async fn presigned_urls_use_the_public_endpoint() {
    let server = S3Server::start().await;
    let mut options = places::options(&server.endpoint());
    options.public_endpoint = Some("https://files.example.com".to_owned());
    let disk = Disk::s3(places::name("public"), options);
    let url = disk
        .presigned_url(key(1), "a.tar.gz", Duration::from_secs(60))
        .await;
    let url = url.unwrap().unwrap();
    let expected = "https://files.example.com/backups/some/folder/";
    assert!(url.starts_with(expected), "{url}");
}

#[tokio::test]
async fn a_local_disk_has_no_presigned_urls() {
    let place = places::local().await.unwrap();
    let link = place
        .disk
        .presigned_url(key(1), "a", Duration::from_secs(1))
        .await;
    assert_eq!(link.unwrap(), None);
}
