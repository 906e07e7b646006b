//! Ranges of an archive: the requests of a download that was interrupted.

use super::download::{ENCRYPTED, FILES, fetch, with_link_on};

#[tokio::test(flavor = "multi_thread")]
async fn ranges_of_an_archive_are_served() {
    for disk in [FILES, ENCRYPTED] {
        let (app, _, link, size) = with_link_on(disk, 10_000).await;
        let anonymous = app.as_anonymous();
        let whole = fetch(&anonymous, &link, &[]).await.bytes;
        let last = size - 1;
        for (range, from, to) in [
            ("bytes=0-0".to_owned(), 0, 0),
            ("bytes=100-299".to_owned(), 100, 299),
            ("bytes=5000-".to_owned(), 5000, last),
            ("bytes=-7".to_owned(), size - 7, last),
            (format!("bytes={last}-999999999"), last, last),
        ] {
            let part = fetch(&anonymous, &link, &[("range", &range)]).await;
            assert_eq!(part.status, 206, "{range}");
            assert_eq!(
                part.header("content-range"),
                format!("bytes {from}-{to}/{size}")
            );
            assert_eq!(
                part.header("content-length"),
                (to - from + 1).to_string(),
                "{range}"
            );
            assert!(part.bytes == whole[from..=to], "other bytes for {range}");
        }
        // An invalid range is ignored.
        for range in ["junk", "pages=1-2", "bytes=x-y", "byteS=0)", "bytes=+0-"] {
            let answer = fetch(&anonymous, &link, &[("range", range)]).await;
            assert_eq!(
                (answer.status, answer.bytes == whole),
                (200, true),
                "{range}"
            );
        }
        app.stop().await;
    }
}
