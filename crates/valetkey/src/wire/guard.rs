//! Where a request may go: scheme, port, host names and addresses.
//!
//! Everything is refused that is not clearly an HTTP API on the public internet, or named by the operator. Addresses
//! are judged twice: literal ones before anything happens, and every answer of the resolver before a socket is opened.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use url::Host;
use valetkey_engine::wire::WireError;

use super::address::{self, LOOPBACK, METADATA_V4};
use super::target::{Target, parse_host};
use super::{WireSettings, WireSetupError};

/// Names under which clouds serve instance credentials. They are refused like their address, even where a resolver
/// would answer with another one.
const METADATA_NAMES: [&str; 2] = ["metadata.google.internal", "metadata.goog"];

/// Ports of protocols that can be made to act on an HTTP request, sorted: the list that browsers refuse (Fetch
/// standard, "bad port"), and databases, queues and directories. Zero is no port.
const BAD_PORTS: &[u16] = &[
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
    110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 445, 465, 512, 513, 514, 515, 526, 530,
    531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 873, 989, 990, 993, 995, 1433, 1521, 1719, 1720, 1723, 2049,
    2181, 3306, 3389, 3659, 4045, 4190, 5060, 5061, 5432, 5672, 6000, 6379, 6566, 6665, 6666, 6667, 6668, 6669, 6679,
    6697, 9042, 10080, 11211, 27017,
];

/// The operator's rules.
pub(super) struct Guard {
    hosts: Vec<HostPattern>,
    networks: Vec<IpNet>,
    insecure: Vec<(Host<String>, Option<u16>)>,
}

/// One entry of `allowed_hosts`.
enum HostPattern {
    Any,
    Exactly(Host<String>),
    /// Any name below this one; kept with its leading dot.
    Below(String),
}

impl Guard {
    /// Reads the rules. An entry that cannot be understood is an error: a rule must not vanish by a typing mistake.
    pub(super) fn new(settings: &WireSettings) -> Result<Self, WireSetupError> {
        let hosts = settings.allowed_hosts.iter().map(|text| {
            parse_pattern(text).ok_or_else(|| WireSetupError::Host {
                setting: "allowed_hosts",
                entry: text.clone(),
            })
        });
        let insecure = settings.allow_insecure_http.iter().map(|text| {
            parse_authority(text).ok_or_else(|| WireSetupError::Host {
                setting: "allow_insecure_http",
                entry: text.clone(),
            })
        });
        Ok(Self {
            hosts: hosts.collect::<Result<_, _>>()?,
            networks: settings.allow_networks.clone(),
            insecure: insecure.collect::<Result<_, _>>()?,
        })
    }

    /// Whether `allowed_hosts` covers the target.
    pub(super) fn check_host(&self, target: &Target) -> Result<(), WireError> {
        let allowed = self.hosts.iter().any(|pattern| match (pattern, &target.host) {
            (HostPattern::Any, _) => true,
            (HostPattern::Exactly(host), asked) => host == asked,
            (HostPattern::Below(suffix), Host::Domain(name)) => name.len() > suffix.len() && name.ends_with(suffix),
            (HostPattern::Below(_), _) => false,
        });
        if allowed {
            Ok(())
        } else {
            Err(WireError::HostNotAllowed)
        }
    }

    /// Whether scheme, port and, as far as the host tells it, the address are acceptable.
    pub(super) fn check_place(&self, target: &Target) -> Result<(), WireError> {
        let insecure_allowed = || {
            self.insecure
                .iter()
                .any(|(host, port)| *host == target.host && port.is_none_or(|port| port == target.port))
        };
        if BAD_PORTS.binary_search(&target.port).is_ok() || !(target.https || insecure_allowed()) {
            return Err(WireError::Insecure);
        }
        let permitted = match &target.host {
            Host::Ipv4(ip) => self.permits(IpAddr::V4(*ip)),
            Host::Ipv6(ip) => self.permits(IpAddr::V6(*ip)),
            Host::Domain(name) if is_localhost(name) => LOOPBACK.iter().any(|ip| self.permits(*ip)),
            Host::Domain(name) if METADATA_NAMES.contains(&name.as_str()) => self.permits(METADATA_V4),
            Host::Domain(_) => true,
        };
        if permitted {
            Ok(())
        } else {
            Err(WireError::AddressDenied)
        }
    }

    /// Whether every one of the resolver's answers is acceptable: one that is not spoils the name, because whoever
    /// controls the answers chooses which of them is tried.
    pub(super) fn check_answers(&self, answers: &[SocketAddr]) -> Result<(), WireError> {
        if answers.iter().all(|answer| self.permits(answer.ip())) {
            Ok(())
        } else {
            Err(WireError::AddressDenied)
        }
    }

    /// Whether a socket may be opened to this address. An IPv6 address that carries an IPv4 address needs both
    /// permitted.
    pub(super) fn permits(&self, ip: IpAddr) -> bool {
        address::forms(ip).all(|ip| {
            if address::is_metadata(ip) {
                self.networks.contains(&IpNet::from(ip))
            } else {
                self.networks.iter().any(|network| network.contains(&ip))
                    || !(address::is_special(ip) || address::is_own(ip))
            }
        })
    }
}

/// Whether the name stands for this machine (RFC 6761, section 6.3).
pub(super) fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

fn parse_pattern(text: &str) -> Option<HostPattern> {
    match text.strip_prefix('*') {
        Some("") => Some(HostPattern::Any),
        Some(rest) => match parse_host(rest.strip_prefix('.')?)? {
            Host::Domain(name) => Some(HostPattern::Below(format!(".{name}"))),
            _ => None,
        },
        None => parse_host(text).map(HostPattern::Exactly),
    }
}

/// Reads `host` or `host:port`.
fn parse_authority(text: &str) -> Option<(Host<String>, Option<u16>)> {
    if let Some(host) = parse_host(text) {
        return Some((host, None));
    }
    let (host, port) = text.rsplit_once(':')?;
    Some((parse_host(host)?, Some(port.parse().ok()?)))
}
