//! Which texts may be the URL of an endpoint at all.

use url::Url;

/// The longest URL of an endpoint.
const MAX_URL: usize = 2048;

/// Why a text is not the URL of an endpoint. Never shows the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Longer than 2048 characters.
    #[error("the URL is longer than 2048 characters")]
    TooLong,
    /// A character that RFC 3986 does not allow (a placeholder that was not filled in has braces), or `$(`.
    #[error("the URL has a character that does not belong in one")]
    Character,
    /// Not absolute, or neither http nor https.
    #[error("the URL does not begin with https:// or http://")]
    Scheme,
    /// A user name or a password.
    #[error("the URL has a user name or a password")]
    Userinfo,
    /// A fragment (RFC 6749 sections 3.1 and 3.2).
    #[error("the URL has a fragment")]
    Fragment,
    /// No host, or one that cannot be a host.
    #[error("the URL has no valid host")]
    Host,
}

/// Reads the URL of an endpoint. URL parsers repair what people type (tabs vanish, backslashes turn, slashes appear);
/// here the text must be a URL as it stands. Whether plain http may be used is for the wire to decide.
pub fn check_endpoint(url: &str) -> Result<Url, EndpointError> {
    if url.len() > MAX_URL {
        return Err(EndpointError::TooLong);
    }
    // `$(` is legal in a URL, and has been a command in the hands of a program that opened one (CVE-2025-6514).
    if !url.bytes().all(is_url_byte) || url.contains("$(") {
        return Err(EndpointError::Character);
    }
    let (scheme, rest) = url.split_once("://").ok_or(EndpointError::Scheme)?;
    if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
        return Err(EndpointError::Scheme);
    }
    if rest.contains('#') {
        return Err(EndpointError::Fragment);
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(EndpointError::Userinfo);
    }
    if authority.is_empty() {
        return Err(EndpointError::Host);
    }
    Url::parse(url).ok().filter(Url::has_host).ok_or(EndpointError::Host)
}

/// RFC 3986 section 2: unreserved, reserved, and the percent sign.
fn is_url_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a42_dangerous_endpoints_are_refused() {
        let table = [
            ("javascript:alert(1)", EndpointError::Scheme),
            ("data:text/html,x", EndpointError::Scheme),
            ("file:///etc/passwd", EndpointError::Scheme),
            ("vscode://x/y", EndpointError::Scheme),
            ("//as.example/authorize", EndpointError::Scheme),
            ("/authorize", EndpointError::Scheme),
            ("", EndpointError::Scheme),
            ("https:as.example", EndpointError::Scheme),
            ("https:/as.example", EndpointError::Scheme),
            ("https://u@as.example/", EndpointError::Userinfo),
            ("https://u:p@as.example/", EndpointError::Userinfo),
            ("https://@as.example/", EndpointError::Userinfo),
            ("https://as.example/a#b", EndpointError::Fragment),
            ("https://as.example/#", EndpointError::Fragment),
            ("https://", EndpointError::Host),
            ("https:///as.example", EndpointError::Host),
            ("https://?x", EndpointError::Host),
            ("https://as.example:99999/", EndpointError::Host),
            ("https://%00/", EndpointError::Host),
            ("https://as.example/$(calc)", EndpointError::Character),
            ("https://as.example/`calc`", EndpointError::Character),
            ("https://as.example\\@evil.example/", EndpointError::Character),
            ("https://as.example/a b", EndpointError::Character),
            (" https://as.example/", EndpointError::Character),
            ("https://as.exa\nmple/", EndpointError::Character),
            ("https://as.example/\t", EndpointError::Character),
            ("https://as.example/\u{202e}", EndpointError::Character),
            ("https://login.example/{tenant-id}/authorize", EndpointError::Character),
        ];
        for (text, why) in table {
            assert_eq!(check_endpoint(text), Err(why), "{text:?}");
        }
        let long = format!("https://as.example/{}", "a".repeat(2048));
        assert_eq!(check_endpoint(&long), Err(EndpointError::TooLong));
    }

    #[test]
    fn ordinary_endpoints_are_taken() {
        for text in [
            "https://as.example/a?b=c&$filter=d",
            "http://127.0.0.1:8080/token",
            "HTTPS://[::1]/x",
        ] {
            assert!(check_endpoint(text).is_ok(), "{text}");
        }
    }
}
