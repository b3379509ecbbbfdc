//! Which hosts a credential may go to.

use std::fmt;

use url::{Host, Url};

/// A host that a credential may go to: scheme, host and port. The host may start with `*.`, which stands for exactly
/// one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRule {
    scheme: String,
    host: String,
    wildcard: bool,
    port: u16,
}

impl HostRule {
    /// Reads `api.example.com`, `*.example.com`, `api.example.com:8443` or `https://api.example.com`; https unless it
    /// says otherwise. The error says the rule, not the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const RULE: &str = "must be a host such as api.example.com or *.example.com, with a scheme or port if need be";
        let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
        let (wildcard, host) = rest.strip_prefix("*.").map_or((false, rest), |host| (true, host));
        if !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b)) {
            return Err(RULE);
        }
        let url = Url::parse(&format!("{scheme}://{host}/")).map_err(|_| RULE)?;
        let mut rule = Self::of_url(&url).ok_or(RULE)?;
        let is_domain = matches!(url.host(), Some(Host::Domain(domain)) if domain.trim_end_matches('.').contains('.'));
        if wildcard && !is_domain {
            return Err("* must stand before a domain of two labels or more");
        }
        rule.wildcard = wildcard;
        Ok(rule)
    }

    /// The rule that allows the origin of `url` and nothing else; `None` if it is not http or https.
    pub fn of_url(url: &Url) -> Option<Self> {
        let scheme = matches!(url.scheme(), "http" | "https").then(|| url.scheme().to_owned())?;
        let port = url.port_or_known_default()?;
        Some(Self {
            scheme,
            host: url.host_str()?.to_owned(),
            wildcard: false,
            port,
        })
    }

    /// Whether a credential may go to this URL. Never with user information in it.
    pub fn matches(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let host = if self.wildcard {
            host.split_once('.').map_or("", |(_, domain)| domain)
        } else {
            host
        };
        host == self.host
            && url.scheme() == self.scheme
            && url.port_or_known_default() == Some(self.port)
            && url.username().is_empty()
            && url.password().is_none()
    }
}

/// The form that connectors are bound to in the store: it must not change.
impl fmt::Display for HostRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.wildcard { "*." } else { "" };
        write!(f, "{}://{star}{}:{}", self.scheme, self.host, self.port)
    }
}

#[cfg(test)]
mod tests;
