//! Addresses (cases E07 and E08).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use ipnet::IpNet;
use valetkey_engine::wire::WireError;

use super::{check, local, strict};
use crate::wire::WireSettings;
use crate::wire::address::{self, SPECIAL};
use crate::wire::guard::Guard;

fn allowing(networks: &[&str]) -> WireSettings {
    let allow_networks = networks.iter().map(|text| text.parse().expect("a network")).collect();
    WireSettings {
        allow_networks,
        ..strict()
    }
}

fn permits(networks: &[&str], ip: &str) -> bool {
    Guard::new(&allowing(networks))
        .expect("good settings")
        .permits(ip.parse().expect("an address"))
}

/// The address `distance` after (or before) another one, if there is one.
fn step(ip: IpAddr, distance: i128) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => {
            let bits = i128::from(ip.to_bits()) + distance;
            u32::try_from(bits).ok().map(|bits| Ipv4Addr::from_bits(bits).into())
        }
        IpAddr::V6(ip) => ip
            .to_bits()
            .checked_add_signed(distance)
            .map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

fn middle(block: &IpNet) -> IpAddr {
    match block {
        IpNet::V4(block) => Ipv4Addr::from_bits(block.network().to_bits().midpoint(block.broadcast().to_bits())).into(),
        IpNet::V6(block) => Ipv6Addr::from_bits(block.network().to_bits().midpoint(block.broadcast().to_bits())).into(),
    }
}

#[test]
fn e07_blocks_are_denied_to_their_edges_and_no_further() {
    let guard = Guard::new(&strict()).expect("good settings");
    for block in SPECIAL {
        let (first, last) = (block.network(), block.broadcast());
        for ip in [first, middle(&block), last] {
            assert!(!guard.permits(ip), "{ip} of {block}");
        }
        for outside in [step(first, -1), step(last, 1)].into_iter().flatten() {
            // Some blocks touch others, and low IPv6 addresses are forms of special IPv4 ones.
            let elsewhere = address::forms(outside).any(|ip| address::is_special(ip) || address::is_metadata(ip));
            assert_eq!(guard.permits(outside), !elsewhere, "{outside} next to {block}");
        }
    }
}

#[test]
fn e07_the_table_has_every_block_of_the_registries() {
    let required = "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 \
        192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 \
        255.255.255.255/32 ::/128 ::1/128 ::ffff:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 2001::/23 2001:db8::/32 \
        2002::/16 3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8";
    for block in required.split_whitespace() {
        let block: IpNet = block.parse().expect("a network");
        assert!(SPECIAL.iter().any(|special| special.contains(&block)), "{block}");
    }
    for public in [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "223.255.255.255",
        "2600::1",
        "2001:200::",
        "2003::1",
    ] {
        assert!(permits(&[], public), "{public}");
    }
}

#[test]
fn e07_addresses_of_this_machine_are_denied() {
    assert!(address::is_own(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    assert!(!address::is_own(IpAddr::V4(Ipv4Addr::new(93, 184, 216, 34))));
    // The address we would speak to the internet from, if there is a way there at all.
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    if socket.connect("93.184.216.34:443").is_ok() {
        let own = socket.local_addr().expect("an address").ip().to_string();
        assert!(!permits(&[], &own));
        assert!(permits(&[&format!("{own}/32")], &own));
    }
}

#[test]
fn allowed_networks_open_what_they_cover_and_nothing_else() {
    assert!(permits(&["10.0.0.0/8"], "10.1.2.3"));
    assert!(!permits(&["10.0.0.0/8"], "192.168.0.1"));
    assert_eq!(check(&local(), "https://localhost/"), Ok(()));
    // An address inside an address must be permitted too.
    assert!(!permits(&["127.0.0.0/8"], "::ffff:127.0.0.1"));
    assert!(!permits(&["::ffff:0:0/96"], "::ffff:127.0.0.1"));
    assert!(permits(&["::ffff:0:0/96", "127.0.0.0/8"], "::ffff:127.0.0.1"));
    assert!(permits(&["64:ff9b::/96"], "64:ff9b::5db8:d822"));
    assert!(!permits(&["64:ff9b::/96"], "64:ff9b::a00:1"));
}

#[test]
fn e08_metadata_services_need_to_be_named_one_by_one() {
    let wide = ["0.0.0.0/0", "::/0", "169.254.0.0/16", "fd00::/8"];
    for ip in [
        "169.254.169.254",
        "169.254.170.2",
        "fd00:ec2::254",
        "100.100.100.200",
        "168.63.129.16",
    ] {
        assert!(!permits(&wide, ip), "{ip}");
    }
    assert!(!permits(&wide, "::ffff:169.254.169.254"));
    assert!(permits(&["169.254.169.254/32"], "169.254.169.254"));
    assert!(permits(&["fd00:ec2::254/128"], "fd00:ec2::254"));
    for host in [
        "metadata.google.internal",
        "METADATA.google.internal.",
        "metadata.goog",
        "169.254.169.254",
    ] {
        assert_eq!(
            check(&allowing(&wide), &format!("https://{host}/")),
            Err(WireError::AddressDenied),
            "{host}"
        );
    }
}
