//! The address of the client, and the URL under which the client reaches the service.
//!
//! `X-Forwarded-*` headers are used only if a trusted proxy sent the request.

use std::net::IpAddr;

use actix_web::http::header::HOST;
use actix_web::{HttpRequest, web};
use ipnet::IpNet;

use crate::state::{ApiOptions, ApiState};

/// Returns the address of the client who sent a request.
pub(crate) fn of_request(request: &HttpRequest) -> Option<IpAddr> {
    let state = request.app_data::<web::Data<ApiState>>();
    client_address(
        request,
        state.map_or(&[], |state| &state.options.trusted_proxies),
    )
}

/// Returns the address of the peer. If the peer is a trusted proxy, returns the last address in
/// `X-Forwarded-For` that is not a trusted proxy.
fn client_address(request: &HttpRequest, trusted: &[IpNet]) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip().to_canonical();
    if !is_trusted(peer, trusted) {
        return Some(peer);
    }
    let mut nearest = peer;
    let headers: Vec<&str> = request
        .headers()
        .get_all("x-forwarded-for")
        .filter_map(|value| value.to_str().ok())
        .collect();
    for hop in headers.join(",").rsplit(',') {
        let Ok(address) = hop.trim().parse::<IpAddr>() else {
            break;
        };
        nearest = address.to_canonical();
        if !is_trusted(nearest, trusted) {
            break;
        }
    }
    Some(nearest)
}

/// Returns whether a trusted proxy sent the request.
pub(crate) fn is_from_trusted_proxy(request: &HttpRequest) -> bool {
    let state = request.app_data::<web::Data<ApiState>>();
    let trusted = state.map_or(&[][..], |state| &state.options.trusted_proxies);
    has_trusted_peer(request, trusted)
}

/// Returns the URL of the service without a slash at the end: from the settings, or else from the
/// headers of the request.
pub(crate) fn base_url(request: &HttpRequest, options: &ApiOptions) -> String {
    if let Some(url) = &options.public_url {
        return url.clone();
    }
    let is_proxied = has_trusted_peer(request, &options.trusted_proxies);
    let forwarded = |name| header(request, name).filter(|_| is_proxied);
    let scheme = match uses_tls(request, options) {
        true => "https",
        false => "http",
    };
    let host = forwarded("x-forwarded-host")
        .or_else(|| header(request, HOST.as_str()))
        .or_else(|| {
            request
                .uri()
                .authority()
                .map(|authority| authority.as_str())
        })
        .filter(|host| {
            host.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b".-:[]_".contains(&b))
        })
        .unwrap_or("localhost");
    format!("{scheme}://{host}")
}

/// Returns whether the client uses TLS, according to a trusted proxy. The service itself has no
/// TLS.
pub(crate) fn uses_tls(request: &HttpRequest, options: &ApiOptions) -> bool {
    has_trusted_peer(request, &options.trusted_proxies)
        && header(request, "x-forwarded-proto") == Some("https")
}

fn has_trusted_peer(request: &HttpRequest, trusted: &[IpNet]) -> bool {
    let peer = request.peer_addr();
    peer.is_some_and(|peer| is_trusted(peer.ip().to_canonical(), trusted))
}

fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|net| net.contains(&address))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn forwarded_addresses_count_only_from_trusted_proxies() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().expect("a network")];
        for (peer, forwarded, expected) in [
            ("192.0.2.1:1", None, "192.0.2.1"),
            ("192.0.2.1:1", Some("203.0.113.9"), "192.0.2.1"),
            ("10.0.0.1:1", Some("203.0.113.9"), "203.0.113.9"),
            (
                "10.0.0.1:1",
                Some("198.51.100.7, 203.0.113.9, 10.2.3.4"),
                "203.0.113.9",
            ),
            ("10.0.0.1:1", Some("invalid"), "10.0.0.1"),
            ("10.0.0.1:1", None, "10.0.0.1"),
            ("[::ffff:10.0.0.1]:1", Some("203.0.113.9"), "203.0.113.9"),
        ] {
            let mut request = TestRequest::default().peer_addr(peer.parse().expect("an address"));
            if let Some(value) = forwarded {
                request = request.insert_header(("x-forwarded-for", value));
            }
            let found = client_address(&request.to_http_request(), &trusted);
            assert_eq!(found, expected.parse().ok(), "{peer} {forwarded:?}");
        }
    }
}
