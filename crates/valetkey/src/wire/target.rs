//! Where a request goes: the part of a URL that a connection depends on.

use std::fmt;
use std::net::Ipv6Addr;

use url::{Host, Url};
use valetkey_engine::wire::WireError;

/// One end of a connection. Two requests with equal targets may share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Target {
    /// TLS, or plain http.
    pub(super) https: bool,
    /// The host, lower case, without a trailing dot.
    pub(super) host: Host<String>,
    /// The port.
    pub(super) port: u16,
    /// Named by the operator in `upstreams`, and so exempt from the guard. Part of the identity: a connection that was
    /// opened without checks must not serve a request that needs them.
    pub(super) trusted: bool,
}

impl Target {
    /// The target a URL names.
    pub(super) fn of(url: &Url) -> Result<Self, WireError> {
        let https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(WireError::Insecure),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(WireError::Malformed);
        }
        let host = match url.host() {
            Some(Host::Domain(name)) => Host::Domain(name.strip_suffix('.').unwrap_or(name).to_owned()),
            Some(Host::Ipv4(ip)) => Host::Ipv4(ip),
            Some(Host::Ipv6(ip)) => Host::Ipv6(ip),
            None => return Err(WireError::Malformed),
        };
        let port = url.port_or_known_default().ok_or(WireError::Malformed)?;
        Ok(Self {
            https,
            host,
            port,
            trusted: false,
        })
    }

    /// The same, if the URL is an origin and nothing more.
    pub(super) fn of_origin(url: &Url) -> Option<Self> {
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if bare { Self::of(url).ok() } else { None }
    }
}

/// As in the `Host` header: without the port where it is the scheme's own.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.https, self.port) {
            (true, 443) | (false, 80) => write!(f, "{}", self.host),
            _ => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Reads a host as settings spell it: a name or an address, IPv6 with or without brackets.
pub(super) fn parse_host(text: &str) -> Option<Host<String>> {
    match text.parse::<Ipv6Addr>() {
        Ok(ip) => Some(Host::Ipv6(ip)),
        Err(_) => Host::parse(text.strip_suffix('.').unwrap_or(text)).ok(),
    }
}
