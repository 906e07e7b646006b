//! Reads arbitrary text as a network, and looks for an address in it.
//!
//! The first line of the input is the network, the second one the address. A network contains an
//! address if their first bits are equal, in whichever form both are written.
#![no_main]

use std::net::IpAddr;

use ipnet::IpNet;
use libfuzzer_sys::fuzz_target;

use holdfast_domain::network;
use holdfast_fuzz::{Bounds, first_line};

/// The 128 bits of an address, with an IPv4 address as `::ffff:…`.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn simple_contains(net: &IpNet, address: IpAddr) -> bool {
    let length = match net {
        IpNet::V4(net) => 96 + u32::from(net.prefix_len()),
        IpNet::V6(net) => net.prefix_len().into(),
    };
    let differing = bits(net.addr()) ^ bits(address);
    differing.checked_shr(128 - length).unwrap_or(0) == 0
}

fuzz_target!(|input: &[u8]| {
    let (net, address) = first_line(input);
    let text = String::from_utf8_lossy(net);
    let Some(net) = Bounds::TEXT.check(text.len(), || network::parse(&text)) else {
        return;
    };
    assert_eq!(network::parse(&net.to_string()), Some(net));
    // A network without clients is refused, not stored.
    let first = net.network().to_canonical();
    assert!(!first.is_multicast());
    assert!(network::contains(&net, net.addr()));
    let address = String::from_utf8_lossy(address);
    let numbers = [net.network(), net.broadcast()].into_iter();
    for address in numbers.chain(address.trim().parse().ok()) {
        let is_inside = network::contains(&net, address);
        assert_eq!(is_inside, simple_contains(&net, address), "{net} {address}");
        assert_eq!(network::contains(&net, address.to_canonical()), is_inside);
        if let IpAddr::V4(address) = address {
            assert_eq!(
                network::contains(&net, address.to_ipv6_mapped().into()),
                is_inside
            );
        }
        let single = network::parse(&address.to_string());
        assert!(single.is_none_or(|single| network::contains(&single, address)));
    }
});
