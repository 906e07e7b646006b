//! Reads arbitrary text as a host that a request names, and as one that the settings allow.
//!
//! The first line of the input is the allowed host, the second one that of a request.
#![no_main]

use std::net::Ipv6Addr;

use libfuzzer_sys::fuzz_target;

use holdfast_api::fuzzing::{host, is_allowed_host};
use holdfast_fuzz::{Bounds, first_line};

/// Writes a host as in a URL.
fn written(name: &str, port: Option<u16>) -> String {
    let name = match name.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => name.to_owned(),
    };
    port.map_or_else(|| name.clone(), |port| format!("{name}:{port}"))
}

fuzz_target!(|input: &[u8]| {
    let (allowed, text) = first_line(input);
    let (allowed, text) = (
        String::from_utf8_lossy(allowed),
        String::from_utf8_lossy(text),
    );
    let Some((name, port)) = Bounds::TEXT.check(text.len(), || host(&text)) else {
        return;
    };
    // Nothing that could end the host in a URL or in a header.
    assert!(!name.is_empty() && name == name.to_ascii_lowercase());
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    assert!(name.bytes().all(is_plain));
    assert_ne!(port, Some(0));
    let other = written(&name, port);
    assert_eq!(host(&other), Some((name.clone(), port)), "{other}");

    assert_eq!(is_allowed_host(&written(&name, None), &text), Some(true));
    let Some(is_allowed) = Bounds::TEXT.check(input.len(), || is_allowed_host(&allowed, &text))
    else {
        return;
    };
    assert_eq!(
        is_allowed_host(&allowed.to_ascii_uppercase(), &other),
        Some(is_allowed)
    );
    if is_allowed {
        match allowed.strip_prefix("*.") {
            Some(parent) => {
                let parent = parent.to_ascii_lowercase();
                let parent = parent.strip_suffix('.').unwrap_or(&parent);
                assert!(name.ends_with(&format!(".{parent}")), "{allowed} {name}");
            }
            None => {
                let address = allowed
                    .parse::<Ipv6Addr>()
                    .map(|address| format!("[{address}]"));
                let parsed = host(address.as_deref().unwrap_or(&allowed));
                assert_eq!(parsed.map(|(name, _)| name), Some(name));
            }
        }
    }
});
