//! Addresses that are not the public internet.
//!
//! Sources: the IANA special-purpose address registries (RFC 6890 and its successors), the multicast and reserved
//! blocks, and the addresses under which clouds serve instance credentials.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The two addresses `localhost` stands for (RFC 6761, section 6.3).
pub(super) const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// Where most clouds serve instance credentials.
pub(super) const METADATA_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));

/// Every address that serves instance credentials or the like somewhere. Some lie in public blocks.
const METADATA: [IpAddr; 12] = [
    METADATA_V4,                                   // AWS, Azure, Google Cloud, OpenStack and others
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),   // AWS, container credentials
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),  // AWS, pod identity
    IpAddr::V4(Ipv4Addr::new(169, 254, 0, 23)),    // Tencent Cloud
    IpAddr::V4(Ipv4Addr::new(169, 254, 42, 42)),   // Scaleway
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)), // Alibaba Cloud
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),     // Oracle Cloud
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),   // Azure, host agent
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)), // AWS
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)), // AWS, pod identity
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)), // Google Cloud
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)), // Scaleway
];

/// Blocks that no public API lives in.
pub(super) const SPECIAL: [IpNet; 32] = [
    v4([0, 0, 0, 0], 8),                       // this network
    v4([10, 0, 0, 0], 8),                      // private
    v4([100, 64, 0, 0], 10),                   // carrier-grade NAT
    v4([127, 0, 0, 0], 8),                     // loopback
    v4([169, 254, 0, 0], 16),                  // link-local
    v4([172, 16, 0, 0], 12),                   // private
    v4([192, 0, 0, 0], 24),                    // protocol assignments
    v4([192, 0, 2, 0], 24),                    // documentation
    v4([192, 88, 99, 0], 24),                  // 6to4 relays, deprecated
    v4([192, 168, 0, 0], 16),                  // private
    v4([198, 18, 0, 0], 15),                   // benchmarking
    v4([198, 51, 100, 0], 24),                 // documentation
    v4([203, 0, 113, 0], 24),                  // documentation
    v4([224, 0, 0, 0], 4),                     // multicast
    v4([240, 0, 0, 0], 4),                     // reserved, and the broadcast address
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128),         // unspecified
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128),         // loopback
    v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96),     // IPv4-mapped
    v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96),     // IPv4-translated
    v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96),  // NAT64
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48),  // NAT64, local use
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64),      // discard
    v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64),      // dummy prefix
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),     // protocol assignments, Teredo
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), // documentation
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),     // 6to4
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),     // documentation
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16),     // segment routing
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),      // unique local
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),     // link-local
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10),     // site-local, deprecated
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),      // multicast
];

const fn v4(octets: [u8; 4], prefix: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::from_octets(octets), prefix))
}

const fn v6(segments: [u16; 8], prefix: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from_segments(segments), prefix))
}

/// Whether cloud credentials are served at this address.
pub(super) fn is_metadata(ip: IpAddr) -> bool {
    METADATA.contains(&ip)
}

/// Whether the address lies in a special-purpose block.
pub(super) fn is_special(ip: IpAddr) -> bool {
    SPECIAL.iter().any(|block| block.contains(&ip))
}

/// Whether the address belongs to an interface of this machine.
///
/// A connected UDP socket sends nothing, yet the kernel picks its source address, and only a packet to ourselves has
/// the destination for its source. (To try to bind the address would mislead where `ip_nonlocal_bind` is set.)
pub(super) fn is_own(ip: IpAddr) -> bool {
    let any: IpAddr = if ip.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect(SocketAddr::new(ip, 443))?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == ip)
}

/// The address, and the IPv4 address it carries inside if it is of a form that does.
pub(super) fn forms(ip: IpAddr) -> impl Iterator<Item = IpAddr> {
    let inner = match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(v6) => embedded(v6),
    };
    std::iter::once(ip).chain(inner.map(IpAddr::V4))
}

fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let (high, low) = match ip.segments() {
        // in this order: compatible and translated, mapped, NAT64 and its local-use prefix (RFC 6052, RFC 8215), 6to4
        [0, 0, 0, 0, 0 | 0xffff, 0, high, low]
        | [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, .., high, low]
        | [0x2002, high, low, ..] => (high, low),
        // Teredo: the client's address, inverted (RFC 4380)
        [0x2001, 0, .., high, low] => (!high, !low),
        _ => return None,
    };
    Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}
