//! Hosts as requests name them, and the list of hosts that requests may name.

use std::net::{IpAddr, Ipv6Addr};

/// The hosts that requests may name. Without any, a request may name every host.
///
/// Ports do not matter, nor does a dot at the end, nor upper case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedHosts(Vec<AllowedHost>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum AllowedHost {
    Exact(String),
    /// Every name that ends with this text, which starts with a dot.
    Below(String),
}

impl AllowedHosts {
    /// Adds a host name, an address, or `*.` and a name for every name below it. Returns whether
    /// `text` is one of them.
    pub fn add(&mut self, text: &str) -> bool {
        let allowed = match text.strip_prefix("*.") {
            Some(parent) => name_of(parent)
                .filter(|name| name.parse::<IpAddr>().is_err())
                .map(|name| AllowedHost::Below(format!(".{name}"))),
            None => name_of(text).map(AllowedHost::Exact),
        };
        let is_valid = allowed.is_some();
        self.0.extend(allowed);
        is_valid
    }

    /// Returns whether every host is allowed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether a request may name this host.
    pub(crate) fn contains(&self, host: &Host) -> bool {
        self.0.iter().any(|allowed| match allowed {
            AllowedHost::Exact(name) => host.name == *name,
            AllowedHost::Below(end) => host
                .name
                .strip_suffix(end.as_str())
                .is_some_and(|start| !start.is_empty()),
        })
    }
}

/// Parses a host without a port. An IPv6 address may have brackets.
fn name_of(text: &str) -> Option<String> {
    match text.parse::<Ipv6Addr>() {
        Ok(address) => Some(address.to_string()),
        Err(_) => Host::parse(text)
            .filter(|host| host.port.is_none())
            .map(|host| host.name),
    }
}

/// A host name or an address, with an optional port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// In lower case, without a dot at the end. An IPv6 address has no brackets.
    pub(crate) name: String,
    pub(crate) port: Option<u16>,
}

impl Host {
    /// Parses the value of `Host`. Returns `None` for anything but a name or an address with an
    /// optional port.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                (address.parse::<Ipv6Addr>().ok()?.to_string(), port)
            }
            None => {
                let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
                let is_valid = (1..=253).contains(&name.len()) && name.bytes().all(is_name);
                let name = name.strip_suffix('.').unwrap_or(name);
                let name = name.to_ascii_lowercase();
                let has_empty_label = name.split('.').any(str::is_empty);
                (Some(name).filter(|_| is_valid && !has_empty_label)?, port)
            }
        };
        let port = match port.strip_prefix(':') {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().ok().filter(|port| *port > 0)?)
            }
            None if port.is_empty() => None,
            _ => return None,
        };
        Some(Self { name, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_or_an_address_with_an_optional_port_is_a_host() {
        for (text, expected) in [
            ("a", Some(("a", None))),
            ("Backups.Example.COM.", Some(("backups.example.com", None))),
            ("my_panel:8080", Some(("my_panel", Some(8080)))),
            ("example.com.:443", Some(("example.com", Some(443)))),
            ("127.0.0.1:65535", Some(("127.0.0.1", Some(65535)))),
            ("[::1]", Some(("::1", None))),
            ("[2001:DB8:0::1]:443", Some(("2001:db8::1", Some(443)))),
            ("", None),
            (".", None),
            ("a..", None),
            ("a..b", None),
            (".a", None),
            (":80", None),
            ("a:", None),
            ("a:0", None),
            ("a:+1", None),
            ("a:65536", None),
            ("a:1:2", None),
            ("::1", None),
            ("[::1", None),
            ("[a]", None),
            ("[::1]80", None),
            ("a b", None),
            ("a/b", None),
            ("a@b", None),
            ("a?b", None),
            ("<a>", None),
            ("a,b", None),
            ("é", None),
        ] {
            let found = Host::parse(text).map(|host| (host.name, host.port));
            let expected = expected.map(|(name, port)| (name.to_owned(), port));
            assert_eq!(found, expected, "{text}");
        }
        assert_eq!(Host::parse(&"a".repeat(254)), None);
    }

    #[test]
    fn hosts_are_allowed_by_name_whatever_their_case_port_and_final_dot() {
        let mut allowed = AllowedHosts::default();
        for text in [
            "Backups.example.com.",
            "*.Example.org",
            "192.0.2.1",
            "::1",
            "[2001:db8::2]",
        ] {
            assert!(allowed.add(text), "{text}");
        }
        for (text, is_allowed) in [
            ("backups.example.com", true),
            ("BACKUPS.EXAMPLE.COM.:8443", true),
            ("example.com", false),
            ("a.backups.example.com", false),
            ("backups.example.com.evil.example", false),
            ("a.example.org", true),
            ("a.b.EXAMPLE.org.", true),
            ("example.org", false),
            ("badexample.org", false),
            ("192.0.2.1:80", true),
            ("192.0.2.2", false),
            ("[::1]:8080", true),
            ("[0:0::1]", true),
            ("[2001:db8:0::2]", true),
            ("[2001:db8::3]", false),
        ] {
            let host = Host::parse(text).expect("a host");
            assert_eq!(allowed.contains(&host), is_allowed, "{text}");
        }
        for text in [
            "",
            "*",
            "*.",
            "*.192.0.2.1",
            "a.*",
            "a:80",
            "[::1]:80",
            "http://a",
            "a/b",
        ] {
            assert!(!allowed.add(text), "{text}");
        }
    }
}
