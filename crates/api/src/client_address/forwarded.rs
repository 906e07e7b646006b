//! Parses what proxies write into `X-Forwarded-For` and `Forwarded` (RFC 7239).
//!
//! Clients write into these headers, too. So an entry that does not follow the grammar is never
//! guessed at: it is unreadable.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use actix_web::http::header::{FORWARDED, HeaderMap, X_FORWARDED_FOR};

/// What a proxy wrote about a request that it passed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hop {
    /// The address that the request came from. `None`: the entry does not name it, or cannot be
    /// read.
    pub(super) address: Option<IpAddr>,
    /// The host that the request was sent to, as in `Host`.
    pub(super) host: Option<String>,
    /// The scheme of the request.
    pub(super) proto: Option<String>,
}

/// Returns the entries of `X-Forwarded-For`, in the order of the hops. Returns `None` without that
/// header.
pub(super) fn x_forwarded_for(headers: &HeaderMap) -> Option<Vec<Hop>> {
    let mut hops = Vec::new();
    for value in headers.get_all(X_FORWARDED_FOR) {
        let entries = value.as_bytes().split(|byte| *byte == b',');
        hops.extend(
            entries
                .map(<[u8]>::trim_ascii)
                .filter(|entry| !entry.is_empty())
                .map(|entry: &[u8]| Hop {
                    address: std::str::from_utf8(entry).ok().and_then(quoted_node),
                    ..Hop::default()
                }),
        );
    }
    headers.contains_key(X_FORWARDED_FOR).then_some(hops)
}

/// Returns the entries of `Forwarded`, in the order of the hops. Returns `None` if none of them has
/// a `for`, so that the header does not say where the request came from.
pub(super) fn forwarded(headers: &HeaderMap) -> Option<Vec<Hop>> {
    let mut hops = Vec::new();
    let mut has_for = false;
    for value in headers.get_all(FORWARDED) {
        // Each line is parsed by itself: an open quote in a line of the client must not swallow
        // the line that a proxy has added.
        match value.to_str().ok().and_then(elements) {
            Some(elements) => {
                for pairs in elements {
                    let find = |name: &str| {
                        let found = pairs.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                        found.map(|(_, value)| value.clone())
                    };
                    has_for |= find("for").is_some();
                    hops.push(Hop {
                        address: find("for").as_deref().and_then(node),
                        host: find("host"),
                        proto: find("proto"),
                    });
                }
            }
            None => {
                has_for = true;
                hops.push(Hop::default());
            }
        }
    }
    has_for.then_some(hops)
}

/// Returns the entry of a list that the first of `hops` trusted proxies has written, if each of
/// them has appended one. A proxy that replaces the list instead leaves a shorter one.
pub(super) fn first_trusted<'a>(list: &[&'a [u8]], hops: usize) -> Option<&'a [u8]> {
    let index = list.len().saturating_sub(hops.max(1));
    list.get(index).copied()
}

/// Parses an address in `X-Forwarded-For`, which some proxies put into quotes.
fn quoted_node(text: &str) -> Option<IpAddr> {
    let inner = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    node(inner.unwrap_or(text))
}

/// Parses an address with an optional port: `203.0.113.9`, `203.0.113.9:4711`, `2001:db8::1`,
/// `[2001:db8::1]`, `[2001:db8::1]:443`, `fe80::1%eth0`.
fn node(text: &str) -> Option<IpAddr> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return v6(address).filter(|_| is_port);
    }
    if let Some(address) = v6(text) {
        return Some(address);
    }
    let (address, port) = text.split_once(':').unwrap_or((text, "0"));
    let address = address.parse::<Ipv4Addr>().ok()?;
    is_port(port).then_some(address.into())
}

/// Parses an IPv6 address. A zone only has a meaning on the machine that wrote it, and is dropped.
fn v6(text: &str) -> Option<IpAddr> {
    let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
    let is_zone = !zone.is_empty()
        && zone
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._~-%".contains(&byte));
    let address = address.parse::<Ipv6Addr>().ok().filter(|_| is_zone)?;
    Some(IpAddr::V6(address).to_canonical())
}

/// Returns whether a text is a port, or the name of a hidden port, such as `_a1`.
fn is_port(text: &str) -> bool {
    let is_number = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_hidden = text.strip_prefix('_').is_some_and(|name| {
        let mut bytes = name.bytes();
        !name.is_empty() && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    });
    is_number && text.parse::<u16>().is_ok() || is_hidden
}

/// The `name=value` pairs of one element.
type Pairs = Vec<(String, String)>;

/// Parses a line of `Forwarded`. Returns `None` if it does not follow the grammar: then it is not
/// known where an element begins.
fn elements(line: &str) -> Option<Vec<Pairs>> {
    let mut elements = Vec::new();
    let mut pairs = Pairs::new();
    let mut rest = line.trim_matches([' ', '\t']);
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with([',', ';']) {
            let name = token(rest)?;
            let value = rest[name.len()..].strip_prefix('=')?;
            let (text, after) = token_or_quoted(value)?;
            if pairs
                .iter()
                .any(|(other, _)| other.eq_ignore_ascii_case(name))
            {
                return None;
            }
            pairs.push((name.to_owned(), text));
            rest = after.trim_start_matches([' ', '\t']);
        }
        let mut following = rest.chars();
        match following.next() {
            None | Some(',') => {
                if !pairs.is_empty() {
                    elements.push(std::mem::take(&mut pairs));
                }
                if rest.is_empty() {
                    return Some(elements);
                }
            }
            Some(';') => {}
            Some(_) => return None,
        }
        rest = following.as_str();
    }
}

/// Returns the token at the start of a text. It is not empty.
fn token(text: &str) -> Option<&str> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let length = text.bytes().take_while(|byte| is_token(*byte)).count();
    (length > 0).then(|| &text[..length])
}

/// Returns the token or the quoted text at the start of `text`, and what follows it. Many proxies
/// do not quote ports, so a token may contain a colon.
fn token_or_quoted(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ';', ' ', '\t', '"']);
        let (value, rest) = text.split_at(end.unwrap_or(text.len()));
        return (!value.is_empty()).then(|| (value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => value.push(characters.next()?),
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_brackets_quotes_and_zones_are_taken_off_an_address() {
        for (text, expected) in [
            ("203.0.113.9", Some("203.0.113.9")),
            ("203.0.113.9:4711", Some("203.0.113.9")),
            ("\"203.0.113.9:4711\"", Some("203.0.113.9")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("\"[2001:db8::1]:443\"", Some("2001:db8::1")),
            ("[2001:db8::1]:_hidden", Some("2001:db8::1")),
            ("fe80::1%eth0", Some("fe80::1")),
            ("[fe80::1%25eth0]:443", Some("fe80::1")),
            ("::ffff:203.0.113.9", Some("203.0.113.9")),
            ("[::ffff:203.0.113.9]:1", Some("203.0.113.9")),
            ("unknown", None),
            ("_hidden", None),
            ("unix:", None),
            ("", None),
            ("\"", None),
            ("\"\"203.0.113.9\"\"", None),
            ("203.0.113.9:", None),
            ("203.0.113.9:65536", None),
            ("203.0.113.9:1:2", None),
            ("203.0.113.9 10.0.0.1", None),
            ("010.0.0.1", None),
            ("10.1", None),
            ("[203.0.113.9]", None),
            ("[2001:db8::1", None),
            ("[2001:db8::1]443", None),
            ("2001:db8::1%", None),
            ("fe80::1%\u{e9}", None),
        ] {
            let found = quoted_node(text);
            assert_eq!(found, expected.and_then(|text| text.parse().ok()), "{text}");
        }
    }

    #[test]
    fn a_line_of_forwarded_follows_the_grammar_or_is_unreadable() {
        let pairs = |line: &str| {
            let elements = elements(line)?;
            let show = |pairs: &Pairs| {
                let pairs = pairs.iter().map(|(name, value)| format!("{name}={value}"));
                pairs.collect::<Vec<_>>().join(";")
            };
            Some(elements.iter().map(show).collect::<Vec<_>>().join(","))
        };
        for (line, expected) in [
            ("for=192.0.2.60", Some("for=192.0.2.60")),
            (
                "For=\"[2001:db8::1]:4711\" ; proto=https, for=_a;host=x",
                Some("For=[2001:db8::1]:4711;proto=https,for=_a;host=x"),
            ),
            ("for=\"a\\\"b\"", Some("for=a\"b")),
            ("for=192.0.2.60:4711", Some("for=192.0.2.60:4711")),
            (" , for=1.2.3.4,, ", Some("for=1.2.3.4")),
            (";;for=1.2.3.4;", Some("for=1.2.3.4")),
            ("", Some("")),
            ("for", None),
            ("for=", None),
            ("for=1.2.3.4;for=5.6.7.8", None),
            ("for=\"1.2.3.4", None),
            ("for=\"1.2.3.4\"x", None),
            ("for=1.2.3.4 x", None),
            ("=1.2.3.4", None),
            // An open quote of the client, closed by the quotes of the proxy.
            ("for=1.2.3.4;x=\", for=\"[2001:db8::1]\"", None),
            ("for=1.2.3.4;x=\", for=5.6.7.8", None),
        ] {
            assert_eq!(pairs(line).as_deref(), expected, "{line}");
        }
    }
}
