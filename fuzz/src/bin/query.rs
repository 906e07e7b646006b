//! Reads arbitrary text as the query of a request: pages, filters, a path in an archive, a token.
#![no_main]

use libfuzzer_sys::fuzz_target;

use holdfast_api::fuzzing::{self, SelectedPage};
use holdfast_fuzz::{Bounds, check_refusal};

const LIST: &str = "http://localhost/list";

/// Decodes percent signs and plus signs, byte by byte.
fn decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) => decoded.push(b' '),
            (byte, ..) => decoded.push(byte),
        }
        at += 1;
    }
    decoded
}

/// Finds the last parameter with a name.
fn find(query: &str, name: &str) -> Option<Vec<u8>> {
    let mut found = None;
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decode(key) == name.as_bytes() {
            found = Some(decode(value));
        }
    }
    found
}

/// A link to another page is a plain URL, which selects that page with the same filters.
fn check_link(link: &str, number: u64, page: &SelectedPage, query: &str, total: u64) {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%=&?:/".contains(&byte);
    assert!(link.bytes().all(allowed), "{link}");
    let (url, linked) = link.split_once('?').expect("a query");
    assert_eq!(url, LIST);
    let other = fuzzing::page(LIST, linked, total);
    assert_eq!((other.number, other.size), (number, page.size), "{link}");
    for name in ["user", "owner", "server", "kind", "state", "path"] {
        let value = fuzzing::query_value(query, name);
        assert_eq!(fuzzing::query_value(linked, name), value, "{link}");
    }
}

fuzz_target!(|input: &[u8]| {
    let query = String::from_utf8_lossy(input);
    let bytes = query.len();
    for total in [0, 1, 100, 12_345, u64::MAX] {
        let page = Bounds::TEXT.check(bytes, || fuzzing::page(LIST, &query, total));
        assert!((1..=i64::MAX as u64).contains(&page.number));
        assert!((1..=100).contains(&page.size));
        assert_eq!(page.pages, total.div_ceil(page.size.into()).max(1));
        let offset = u128::from(page.number - 1) * u128::from(page.size);
        assert_eq!(u128::from(page.offset), offset.min(u64::MAX.into()));
        assert_eq!(page.previous.is_some(), page.number > 1);
        if let Some(link) = &page.previous {
            let number = (page.number - 1).min(page.pages);
            // A larger number is not read as such, and no list is that long.
            if number <= i64::MAX as u64 {
                check_link(link, number, &page, &query, total);
            }
        }
        assert_eq!(page.next.is_some(), page.number < page.pages);
        if let Some(link) = &page.next
            && page.number < i64::MAX as u64
        {
            check_link(link, page.number + 1, &page, &query, total);
        }
    }
    for name in ["path", "page", "a"] {
        let value = Bounds::TEXT.check(bytes, || fuzzing::query_value(&query, name));
        assert_eq!(value, find(&query, name));
        let Some(path) = value else { continue };
        let normal = fuzzing::normalized_path(&path);
        assert_eq!(fuzzing::normalized_path(&normal), normal);
        let mut parts = normal.split(|&byte| byte == b'/');
        assert!(normal.is_empty() || parts.all(|part| !part.is_empty() && part != b"."));
    }
    if let Some(token) = fuzzing::query_token(&query) {
        assert!(find(&query, "token").is_some());
        assert!(token.len() <= 3 * bytes);
    }
    if let Err(refusal) = Bounds::TEXT.check(bytes, || fuzzing::job_query(&query)) {
        check_refusal(&refusal);
    }
    match Bounds::TEXT.check(bytes, || fuzzing::delete_server_query(&query)) {
        Ok(action) => assert!(query.contains(action.as_str()) || query.contains('%')),
        Err(refusal) => check_refusal(&refusal),
    }
});
