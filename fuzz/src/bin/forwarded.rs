//! Reads arbitrary headers about the client's address and the host it has asked.
//!
//! Each line of the input is a header, which the client sent; the first line chooses the peer. What
//! a client writes never makes it a trusted proxy, never changes the address that a trusted proxy
//! has seen, and never leads a link to a host that the proxy has not named.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;
use libfuzzer_sys::fuzz_target;

use holdfast_api::fuzzing::{self, SeenClient};
use holdfast_domain::network;
use holdfast_fuzz::{Bounds, first_line};

/// The client, as the proxy has seen it.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
const STRANGER: &str = "198.51.100.7:1";
const PROXIES: [&str; 3] = ["10.0.0.1:1", "[::ffff:10.1.2.3]:1", "[fd00::1]:443"];
const FORWARDED_FOR: &str = "x-forwarded-for";

type Header<'a> = (&'a str, Vec<u8>);

fn trusted() -> Vec<IpNet> {
    ["10.0.0.0/8", "fd00::/64"]
        .map(|text| network::parse(text).unwrap())
        .to_vec()
}

fn is_trusted(address: IpAddr) -> bool {
    trusted().iter().any(|net| network::contains(net, address))
}

fn read(peer: &str, headers: &[Header]) -> SeenClient {
    let bytes = headers
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_slice()))
        .collect();
    let peer: SocketAddr = peer.parse().unwrap();
    let bounds = Bounds {
        memory_per_byte: 1000,
        ..Bounds::TEXT
    };
    let seen = bounds.check(bytes, || fuzzing::client(peer, &headers, &trusted()));
    check_url(&seen.url);
    seen
}

/// A URL has a scheme and a host, and nothing that could lead elsewhere.
fn check_url(url: &str) {
    let (scheme, host) = url.split_once("://").expect("a scheme");
    assert!(matches!(scheme, "http" | "https"), "{url}");
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    assert!(!host.is_empty() && host.bytes().all(allowed), "{url}");
}

fn host(url: &str) -> &str {
    let (_, host) = url.split_once("://").expect("a scheme");
    host.split_once(':').map_or(host, |(host, _)| host)
}

/// Appends to the last line of a header, or adds a line, as proxies do.
fn append(headers: &mut Vec<Header<'_>>, name: &'static str, text: &str, on_own_line: bool) {
    let last = headers.iter_mut().rev().find(|(other, _)| *other == name);
    match last {
        Some((_, value)) if !on_own_line => {
            value.extend_from_slice(b", ");
            value.extend_from_slice(text.as_bytes());
        }
        _ => headers.push((name, text.as_bytes().to_vec())),
    }
}

/// The headers that a client sent. HTTP refuses control characters in them.
fn sent(mut input: &[u8]) -> Vec<Header<'_>> {
    const NAMES: [&str; 6] = [
        FORWARDED_FOR,
        "forwarded",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-forwarded-port",
        "host",
    ];
    let mut headers = Vec::new();
    while !input.is_empty() && headers.len() < 32 {
        let (line, rest) = first_line(input);
        input = rest;
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            continue;
        };
        let name = NAMES.iter().find(|name| name.as_bytes() == &line[..colon]);
        let value = line[colon + 1..].trim_ascii();
        let is_allowed = value
            .iter()
            .all(|&byte| byte == b'\t' || byte >= b' ' && byte != 127);
        if let Some(name) = name.filter(|_| is_allowed) {
            headers.push((*name, value.to_vec()));
        }
    }
    headers
}

fn without<'a>(headers: &[Header<'a>], names: &[&str]) -> Vec<Header<'a>> {
    let kept = headers.iter().filter(|(name, _)| !names.contains(name));
    kept.cloned().collect()
}

fuzz_target!(|input: &[u8]| {
    let (choice, rest) = first_line(input);
    let headers = sent(rest);
    let forwarding = [
        FORWARDED_FOR,
        "forwarded",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-forwarded-port",
    ];

    // Nobody listens to the headers of a stranger.
    let direct = read(STRANGER, &headers);
    assert_eq!(direct.address, Some("198.51.100.7".parse().unwrap()));
    assert_eq!(direct, read(STRANGER, &without(&headers, &forwarding)));

    let proxy = PROXIES[choice.len() % PROXIES.len()];
    let on_own_line = choice.first().is_some_and(|byte| byte & 1 == 1);
    // As they are: a trusted address only if the headers hold nothing else.
    let seen = read(proxy, &headers);
    let values = headers.iter().filter(|(name, _)| *name == FORWARDED_FOR);
    let entries: Vec<_> = values
        .flat_map(|(_, value)| value.split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|entry| !entry.is_empty())
        .collect();
    if seen.address.is_some_and(is_trusted) {
        for entry in entries {
            let text = std::str::from_utf8(entry).expect("an address");
            assert!(text.contains(['.', ':']), "{text}");
        }
    }

    // A proxy, and a proxy before it, append what they have seen to X-Forwarded-For.
    for nearer in ["", ", 10.9.8.7"] {
        let mut passed = headers.clone();
        append(
            &mut passed,
            FORWARDED_FOR,
            &format!("{CLIENT}{nearer}"),
            on_own_line,
        );
        let seen = read(proxy, &passed);
        // `Forwarded` is as the client sent it, so it may make the address unknown.
        assert!(
            seen.address.is_none_or(|address| address == CLIENT),
            "{seen:?}"
        );
        let alone = without(&passed, &["forwarded"]);
        assert_eq!(read(proxy, &alone).address, Some(CLIENT));
        // The host that the proxy was asked for, and its scheme.
        if nearer.is_empty() {
            append(
                &mut passed,
                "x-forwarded-host",
                "asked.example",
                on_own_line,
            );
            append(&mut passed, "x-forwarded-proto", "https", on_own_line);
            let url = read(proxy, &passed).url;
            assert_eq!(host(&url), "asked.example", "{url}");
            assert!(url.starts_with("https://"), "{url}");
        }
    }

    // A proxy writes Forwarded instead.
    let mut passed = without(&headers, &[FORWARDED_FOR]);
    let element = format!("for=\"{CLIENT}:4711\";host=asked.example;proto=https");
    append(&mut passed, "forwarded", &element, on_own_line);
    let seen = read(proxy, &passed);
    if on_own_line || headers.iter().all(|(name, _)| *name != "forwarded") {
        assert_eq!(seen.address, Some(CLIENT));
        assert_eq!(seen.url, "https://asked.example");
    } else {
        // An open quote of the client makes the line unreadable.
        assert!(
            seen.address.is_none_or(|address| address == CLIENT),
            "{seen:?}"
        );
    }
});
