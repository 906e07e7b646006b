//! Networks that contain addresses of clients.
//!
//! An IPv4 address has two forms: `10.0.0.1`, and `::ffff:10.0.0.1` as an IPv6 socket reports it.
//! Both are the same address here, and a network may be written in both forms.

use std::net::IpAddr;

use ipnet::IpNet;

/// Returns whether a network contains an address.
pub fn contains(network: &IpNet, address: IpAddr) -> bool {
    match (network, address.to_canonical()) {
        (IpNet::V4(network), IpAddr::V4(address)) => network.contains(&address),
        (IpNet::V4(_), IpAddr::V6(_)) => false,
        (IpNet::V6(network), IpAddr::V4(address)) => network.contains(&address.to_ipv6_mapped()),
        (IpNet::V6(network), IpAddr::V6(address)) => network.contains(&address),
    }
}

/// Parses a network, or an address as a network with one address. Returns `None` for a network that
/// no client can be in.
pub fn parse(text: &str) -> Option<IpNet> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    let network: IpNet = text.parse().or_else(|_| address()).ok()?;
    let first = network.network().to_canonical();
    let is_address = network.prefix_len() == network.max_prefix_len();
    let is_nobody = first.is_multicast()
        || is_address && (first.is_unspecified() || first == IpAddr::V4([255; 4].into()));
    (!is_nobody).then_some(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_an_ipv4_address_are_in_both_forms_of_a_network() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.1.2.3", "11.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("::ffff:10.0.0.0/104", "10.200.0.1", "11.0.0.1"),
            ("2001:db8::/32", "2001:db8::1", "2001:db9::1"),
        ] {
            let net = parse(network).expect("a network");
            for (address, expected) in [(inside, true), (outside, false)] {
                let address: IpAddr = address.parse().expect("an address");
                assert_eq!(contains(&net, address), expected, "{network} {address}");
                if let IpAddr::V4(address) = address {
                    let mapped = address.to_ipv6_mapped().into();
                    assert_eq!(contains(&net, mapped), expected, "{network} {mapped}");
                }
            }
        }
        for (everything, address, expected) in [
            ("::/0", "10.0.0.1", true),
            ("::/0", "2001:db8::1", true),
            ("0.0.0.0/0", "10.0.0.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
        ] {
            let net = parse(everything).expect("a network");
            let address = address.parse().expect("an address");
            assert_eq!(contains(&net, address), expected, "{everything} {address}");
        }
    }

    #[test]
    fn a_network_without_clients_is_refused() {
        for text in [
            "0.0.0.0",
            "::",
            "224.0.0.0/4",
            "ff02::1",
            "255.255.255.255",
            "::ffff:0.0.0.0",
            "10.0.0.0/33",
            "10.0.0",
            "",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
