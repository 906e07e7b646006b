//! The address of the client, and the URL under which the client reaches the service.
//!
//! A client can write anything into `Forwarded` and `X-Forwarded-*`. So only those entries count
//! that a trusted proxy has added. If one of these cannot be read, the address is unknown; it is
//! never that of the proxy.

mod forwarded;

use std::net::IpAddr;

use actix_web::http::header::{HOST, HeaderName, X_FORWARDED_HOST, X_FORWARDED_PROTO};
use actix_web::{HttpRequest, web};
use ipnet::IpNet;

use holdfast_domain::network;

use self::forwarded::{Hop, first_trusted};
use crate::host::Host;
use crate::state::{ApiOptions, ApiState};

/// Ports that URLs do not need. A proxy behind another one may say the port of the other scheme.
const STANDARD_PORTS: [u16; 3] = [0, 80, 443];
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// Returns the address of the client who sent a request, or `None` if it is unknown.
pub(crate) fn of_request(request: &HttpRequest) -> Option<IpAddr> {
    let state = request.app_data::<web::Data<ApiState>>();
    let trusted = state.map_or(&[][..], |state| &state.options.trusted_proxies);
    Route::of(request, trusted).client
}

/// Returns the address of the client, with these trusted proxies.
#[cfg(fuzzing)]
pub(crate) fn address(request: &HttpRequest, trusted: &[IpNet]) -> Option<IpAddr> {
    Route::of(request, trusted).client
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
    requested_url(request, &options.trusted_proxies)
}

/// Returns the host that the client has asked, if a trusted proxy names it.
pub(crate) fn forwarded_host(request: &HttpRequest, trusted: &[IpNet]) -> Option<String> {
    Route::of(request, trusted).host(request)
}

/// Returns the URL of the service that the headers of a request name.
pub(crate) fn requested_url(request: &HttpRequest, trusted: &[IpNet]) -> String {
    let route = Route::of(request, trusted);
    let scheme = if route.is_tls(request) {
        "https"
    } else {
        "http"
    };
    let own_host = || {
        let line = request
            .headers()
            .get(HOST)
            .and_then(|host| host.to_str().ok());
        let authority = request.uri().authority();
        let host = line.or_else(|| authority.map(|authority| authority.as_str()));
        host.filter(|host| Host::parse(host).is_some())
            .map(str::to_owned)
    };
    let host = route.host(request).or_else(own_host);
    format!("{scheme}://{}", host.as_deref().unwrap_or("localhost"))
}

/// Returns whether the client uses TLS, according to a trusted proxy. The service itself has no
/// TLS.
pub(crate) fn uses_tls(request: &HttpRequest, options: &ApiOptions) -> bool {
    Route::of(request, &options.trusted_proxies).is_tls(request)
}

/// The way of a request through trusted proxies.
struct Route {
    /// The address that the first trusted proxy has seen. Without proxies, that of the peer.
    client: Option<IpAddr>,
    source: Source,
}

/// Where the first trusted proxy has written about the request.
enum Source {
    /// No trusted proxy sent the request.
    Direct,
    /// Into `X-Forwarded-*`. So many of the last entries are from trusted proxies.
    XForwarded { hops: usize },
    /// Into this element of `Forwarded`.
    Forwarded(Hop),
}

impl Route {
    fn of(request: &HttpRequest, trusted: &[IpNet]) -> Self {
        let peer = request.peer_addr().map(|peer| peer.ip().to_canonical());
        if !has_trusted_peer(request, trusted) {
            let source = Source::Direct;
            return Self {
                client: peer,
                source,
            };
        }
        let headers = request.headers();
        let named = forwarded::forwarded(headers).map(|hops| walk(&hops, trusted));
        let listed = forwarded::x_forwarded_for(headers).map(|hops| walk(&hops, trusted));
        let (client, source) = match (listed, named) {
            // Nothing was forwarded: the request is the proxy machine's own.
            (None, None) => (peer, Source::XForwarded { hops: 1 }),
            (None, Some((hop, _))) => (hop.address, Source::Forwarded(hop)),
            (Some((hop, hops)), None) => (hop.address, Source::XForwarded { hops }),
            // A proxy writes one of the two and may pass on the other as the client sent it. So
            // they have to agree.
            (Some((hop, hops)), Some((named, _))) => (
                hop.address
                    .filter(|address| named.address == Some(*address)),
                Source::XForwarded { hops },
            ),
        };
        Self { client, source }
    }

    fn is_tls(&self, request: &HttpRequest) -> bool {
        let proto = match &self.source {
            Source::Direct => None,
            Source::XForwarded { hops } => entry(request, &X_FORWARDED_PROTO, *hops),
            Source::Forwarded(hop) => hop.proto.clone(),
        };
        proto.is_some_and(|proto| proto.eq_ignore_ascii_case("https"))
    }

    /// Returns the host that the client has asked, as far as a trusted proxy says it.
    fn host(&self, request: &HttpRequest) -> Option<String> {
        let hops = match &self.source {
            Source::Direct => return None,
            Source::Forwarded(hop) => {
                let host = hop.host.clone();
                return host.filter(|host| Host::parse(host).is_some());
            }
            Source::XForwarded { hops } => *hops,
        };
        let host = entry(request, &X_FORWARDED_HOST, hops)?;
        let has_port = Host::parse(&host)?.port.is_some();
        let port = entry(request, &X_FORWARDED_PORT, hops).and_then(|port| port.parse().ok());
        Some(match port {
            Some(port) if !has_port && !STANDARD_PORTS.contains(&port) => {
                format!("{host}:{port}")
            }
            _ => host,
        })
    }
}

/// Walks back over the entries of trusted proxies, from the nearest one. Returns the entry of the
/// first trusted proxy, and how many entries are from trusted proxies. An entry that cannot be read
/// ends the walk: what is before it may be from anyone.
fn walk(hops: &[Hop], trusted: &[IpNet]) -> (Hop, usize) {
    let mut first = Hop::default();
    for (index, hop) in hops.iter().rev().enumerate() {
        first = hop.clone();
        let is_proxy = hop
            .address
            .is_some_and(|address| is_trusted(address, trusted));
        if !is_proxy {
            return (first, index + 1);
        }
    }
    (first, hops.len())
}

/// Returns the entry that the first of `hops` trusted proxies has added to a header.
fn entry(request: &HttpRequest, name: &HeaderName, hops: usize) -> Option<String> {
    let values = request.headers().get_all(name);
    let entries: Vec<&[u8]> = values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|entry| !entry.is_empty())
        .collect();
    // Each entry is read by itself: what a client wrote must not hide what a proxy has added.
    let entry = std::str::from_utf8(first_trusted(&entries, hops)?);
    entry.ok().map(str::to_owned)
}

fn has_trusted_peer(request: &HttpRequest, trusted: &[IpNet]) -> bool {
    let peer = request.peer_addr();
    peer.is_some_and(|peer| is_trusted(peer.ip(), trusted))
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|net| network::contains(net, address))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    const PROXY: &str = "10.0.0.1:1";

    type Header<'a> = (&'static str, &'a [u8]);

    fn request(peer: &str, headers: &[Header]) -> HttpRequest {
        let mut request = TestRequest::default().peer_addr(peer.parse().expect("an address"));
        for (name, value) in headers {
            request = request.append_header((*name, *value));
        }
        request.to_http_request()
    }

    fn trusted() -> Vec<IpNet> {
        ["10.0.0.0/8", "::ffff:192.168.0.1"]
            .map(|text| network::parse(text).expect("a network"))
            .to_vec()
    }

    #[test]
    fn the_client_is_what_the_first_trusted_proxy_has_seen() {
        let for_ = |value: &'static [u8]| vec![("x-forwarded-for", value)];
        let named = |value: &'static [u8]| vec![("forwarded", value)];
        for (peer, headers, expected) in [
            ("192.0.2.1:1", vec![], Some("192.0.2.1")),
            ("192.0.2.1:1", for_(b"203.0.113.9"), Some("192.0.2.1")),
            ("192.0.2.1:1", named(b"for=203.0.113.9"), Some("192.0.2.1")),
            // The proxy machine's own request.
            (PROXY, vec![], Some("10.0.0.1")),
            (PROXY, for_(b"203.0.113.9"), Some("203.0.113.9")),
            ("192.168.0.1:1", for_(b"203.0.113.9"), Some("203.0.113.9")),
            (
                "[::ffff:10.0.0.1]:1",
                for_(b"203.0.113.9"),
                Some("203.0.113.9"),
            ),
            (PROXY, for_(b"203.0.113.9:4711"), Some("203.0.113.9")),
            (PROXY, for_(b"\"[2001:db8::1]:443\""), Some("2001:db8::1")),
            (PROXY, for_(b"::ffff:203.0.113.9"), Some("203.0.113.9")),
            (PROXY, for_(b"203.0.113.9,"), Some("203.0.113.9")),
            (PROXY, for_(b" , 203.0.113.9\t, ,"), Some("203.0.113.9")),
            (
                PROXY,
                for_(b"198.51.100.7, 203.0.113.9, 10.2.3.4"),
                Some("203.0.113.9"),
            ),
            // Only trusted hosts.
            (PROXY, for_(b"10.2.3.4, 10.5.6.7"), Some("10.2.3.4")),
            // An entry that cannot be read gives no address, and never that of the proxy.
            (PROXY, for_(b"\xff"), None),
            (PROXY, for_(b""), None),
            (PROXY, for_(b"invalid"), None),
            (PROXY, for_(b"unknown, 10.2.3.4"), None),
            (PROXY, for_(b"203.0.113.9, 10.2.3.4:99999"), None),
            (PROXY, for_(b"10.1.2.3:4711"), Some("10.1.2.3")),
            // What a client wrote does not matter.
            (PROXY, for_(b"\xff, 203.0.113.9"), Some("203.0.113.9")),
            (PROXY, for_(b"\", 203.0.113.9"), Some("203.0.113.9")),
            (
                PROXY,
                for_(b"10.9.9.9\xff, 203.0.113.9"),
                Some("203.0.113.9"),
            ),
            (
                PROXY,
                vec![
                    ("x-forwarded-for", b"198.51.100.7" as &[u8]),
                    ("x-forwarded-for", b"203.0.113.9"),
                ],
                Some("203.0.113.9"),
            ),
            (PROXY, named(b"for=203.0.113.9"), Some("203.0.113.9")),
            (
                PROXY,
                named(b"For=\"[2001:db8::1]:443\";proto=https, for=10.2.3.4"),
                Some("2001:db8::1"),
            ),
            (PROXY, named(b"for=_hidden"), None),
            (PROXY, named(b"for=unknown, for=10.2.3.4"), None),
            (PROXY, named(b"for=203.0.113.9, proto=https"), None),
            (PROXY, named(b"for=1.2.3.4;x=\", for=203.0.113.9"), None),
            (PROXY, named(b"\xff"), None),
            (PROXY, named(b"proto=https"), Some("10.0.0.1")),
            (
                PROXY,
                vec![
                    ("forwarded", b"for=1.2.3.4;x=\"" as &[u8]),
                    ("forwarded", b"for=203.0.113.9"),
                ],
                Some("203.0.113.9"),
            ),
            // Both headers must agree, since the proxy may have written only one of them.
            (
                PROXY,
                vec![
                    ("forwarded", b"for=\"203.0.113.9:80\"" as &[u8]),
                    ("x-forwarded-for", b"203.0.113.9"),
                ],
                Some("203.0.113.9"),
            ),
            (
                PROXY,
                vec![
                    ("forwarded", b"for=203.0.113.9" as &[u8]),
                    ("x-forwarded-for", b"198.51.100.7"),
                ],
                None,
            ),
            (
                PROXY,
                vec![
                    ("forwarded", b"proto=https" as &[u8]),
                    ("x-forwarded-for", b"203.0.113.9"),
                ],
                Some("203.0.113.9"),
            ),
        ] {
            let found = Route::of(&request(peer, &headers), &trusted()).client;
            let shown: Vec<_> = headers
                .iter()
                .map(|(name, value)| format!("{name}: {}", value.escape_ascii()))
                .collect();
            assert_eq!(
                found,
                expected.and_then(|text| text.parse().ok()),
                "{peer} {shown:?}"
            );
        }
    }

    #[test]
    fn links_lead_to_the_host_that_the_first_trusted_proxy_was_asked_for() {
        let all: [(&str, &[Header], &str); 20] = [
            ("192.0.2.1:1", &[("host", b"own:8080")], "http://own:8080"),
            (
                "192.0.2.1:1",
                &[
                    ("host", b"own"),
                    ("x-forwarded-host", b"a"),
                    ("forwarded", b"host=a"),
                ],
                "http://own",
            ),
            (
                PROXY,
                &[("host", b"own"), ("x-forwarded-host", b"a")],
                "http://a",
            ),
            (
                PROXY,
                &[("x-forwarded-host", b"a"), ("x-forwarded-proto", b"https")],
                "https://a",
            ),
            // The client wrote the first entry.
            (
                PROXY,
                &[
                    ("x-forwarded-host", b"a, b"),
                    ("x-forwarded-proto", b"http,https"),
                ],
                "https://b",
            ),
            (
                PROXY,
                &[("x-forwarded-host", b"a"), ("x-forwarded-host", b"b")],
                "http://b",
            ),
            // Bytes of the client that are no text.
            (
                PROXY,
                &[
                    ("host", b"own"),
                    ("x-forwarded-host", b"\xff, b"),
                    ("x-forwarded-proto", b"\xff,https"),
                ],
                "https://b",
            ),
            // Two proxies, of which each has appended.
            (
                PROXY,
                &[
                    ("x-forwarded-for", b"198.51.100.7, 203.0.113.9, 10.2.3.4"),
                    ("x-forwarded-host", b"evil, a:8443, b"),
                    ("x-forwarded-proto", b"http, https, http"),
                ],
                "https://a:8443",
            ),
            // The first of two has written one value for both.
            (
                PROXY,
                &[
                    ("x-forwarded-for", b"203.0.113.9, 10.2.3.4"),
                    ("x-forwarded-host", b"a"),
                ],
                "http://a",
            ),
            (
                PROXY,
                &[("x-forwarded-host", b"a"), ("x-forwarded-port", b"8443")],
                "http://a:8443",
            ),
            (
                PROXY,
                &[("x-forwarded-host", b"a:1"), ("x-forwarded-port", b"2")],
                "http://a:1",
            ),
            (
                PROXY,
                &[
                    ("x-forwarded-host", b"a"),
                    ("x-forwarded-port", b"443"),
                    ("x-forwarded-proto", b"HTTPS"),
                ],
                "https://a",
            ),
            (
                PROXY,
                &[("x-forwarded-host", b"a"), ("x-forwarded-port", b"x")],
                "http://a",
            ),
            (
                PROXY,
                &[
                    ("x-forwarded-host", b"[2001:db8::1]"),
                    ("x-forwarded-port", b"81"),
                ],
                "http://[2001:db8::1]:81",
            ),
            (
                PROXY,
                &[(
                    "forwarded",
                    b"for=203.0.113.9;host=\"a:8443\";proto=https, for=10.2.3.4;host=b",
                )],
                "https://a:8443",
            ),
            // The proxy writes X-Forwarded-For, so `Forwarded` is the client's.
            (
                PROXY,
                &[
                    ("host", b"own"),
                    ("x-forwarded-for", b"203.0.113.9"),
                    ("forwarded", b"for=203.0.113.9;host=evil"),
                ],
                "http://own",
            ),
            (
                PROXY,
                &[("host", b"own"), ("x-forwarded-host", b"a@evil")],
                "http://own",
            ),
            (
                PROXY,
                &[("host", b"own"), ("x-forwarded-host", b"a/evil")],
                "http://own",
            ),
            (
                PROXY,
                &[("host", b"a:0"), ("x-forwarded-host", b"\xff")],
                "http://localhost",
            ),
            (PROXY, &[("host", b"[::1]x")], "http://localhost"),
        ];
        for (peer, headers, expected) in all {
            assert_eq!(requested_url(&request(peer, headers), &trusted()), expected);
        }
    }
}
