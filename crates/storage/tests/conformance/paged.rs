//! Lists more multipart uploads than fit into one page. A stub server returns the pages, since a
//! real one would take too long to create that many.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use holdfast_storage::Disk;

use crate::objects::key;
use crate::places::{self, name};

/// Returns the objects of the requested page, and the markers of the next page.
fn page(head: &str) -> (Vec<u128>, Option<(u128, &'static str)>) {
    let asks_after = |object: u128, upload: &str| {
        let object = key(object).path().replace('/', "%2F");
        head.contains(&format!("key-marker=panel%2F{object}"))
            && head.contains(&format!("upload-id-marker={upload}"))
    };
    if asks_after(4, "u4") {
        (vec![5], None)
    } else if asks_after(2, "u2") {
        (vec![3, 4], Some((4, "u4")))
    } else {
        (vec![1, 2], Some((2, "u2")))
    }
}

fn xml(objects: &[u128], next: Option<(u128, &str)>) -> String {
    let uploads: String = objects
        .iter()
        .map(|n| {
            let path = key(*n).path();
            format!("<Upload><Key>panel/{path}</Key><UploadId>u{n}</UploadId></Upload>")
        })
        .collect();
    let next = next.map_or_else(String::new, |(object, upload)| {
        let path = key(object).path();
        format!(
            "<NextKeyMarker>panel/{path}</NextKeyMarker>\
             <NextUploadIdMarker>{upload}</NextUploadIdMarker><IsTruncated>true</IsTruncated>"
        )
    });
    format!("<ListMultipartUploadsResult>{next}{uploads}</ListMultipartUploadsResult>")
}

#[tokio::test]
async fn all_pages_of_multipart_uploads_are_listed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&requests);
    let server = tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(client.read_u8().await.unwrap());
            }
            *counter.lock().unwrap() += 1;
            let (objects, next) = page(&String::from_utf8(head).unwrap());
            let body = xml(&objects, next);
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/xml\r\n\
                 content-length: {length}\r\n\r\n{body}"
            );
            client.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let mut options = places::options(&endpoint);
    options.prefix = "panel/".to_owned();
    let disk = Disk::s3(name("offsite"), options);
    let mut listing = disk.partials();
    let mut found = Vec::new();
    for pages in 1..=3 {
        let page = listing.next_page().await.unwrap().unwrap();
        found.extend(page.into_iter().map(|left| left.key));
        assert_eq!(
            *requests.lock().unwrap(),
            pages,
            "pages are requested on demand"
        );
    }
    assert_eq!(found, [1, 2, 3, 4, 5].map(key));
    assert_eq!(listing.next_page().await.unwrap(), None);
    server.abort();
}
