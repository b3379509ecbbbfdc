//! Putting tokens and scopes to use.

use std::collections::BTreeSet;

use http::HeaderValue;
use valetkey_core::Secret;
use zeroize::Zeroizing;

/// The value of `Authorization` for a token (RFC 6750 section 2.1), marked sensitive. `None` if the type or the token has
/// a character that does not belong in a header: tokens are checked when they come in, and again here, before they go out.
pub fn authorization_header(token_type: &str, token: &Secret<String>) -> Option<HeaderValue> {
    let token = token.expose();
    let visible = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    if !visible(token_type) || !visible(token) {
        return None;
    }
    let mut value = HeaderValue::from_str(&Zeroizing::new(format!("{token_type} {token}"))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The scopes in a text that people or providers wrote, separated by spaces or commas; each once, in order.
pub fn scopes_of(text: &str) -> Vec<String> {
    split_scopes(text, " ,\t\r\n")
}

/// The scopes in `wanted` that are not in `granted` (RFC 6749 section 3.3 lets a provider grant less).
pub fn missing_scopes(wanted: &[String], granted: &[String]) -> Vec<String> {
    wanted
        .iter()
        .filter(|scope| !granted.contains(scope))
        .cloned()
        .collect()
}

pub(crate) fn split_scopes(text: &str, separators: &str) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let parts = text.split(|c| separators.contains(c)).filter(|scope| !scope.is_empty());
    parts.filter(|scope| seen.insert(*scope)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b16_a_token_is_checked_again_before_it_is_sent() {
        let header = authorization_header("Bearer", &"abc.def~1".into()).expect("a good token");
        assert_eq!(header, "Bearer abc.def~1");
        assert!(header.is_sensitive());
        for bad in ["", "a b", "a\r\nX-Evil: 1", "a\0", "\u{e9}", "\u{7f}"] {
            assert_eq!(authorization_header("Bearer", &bad.into()), None, "{bad:?}");
            assert_eq!(authorization_header(bad, &"abc".into()), None, "{bad:?}");
        }
    }

    #[test]
    fn scopes_are_split_once_and_in_order() {
        assert_eq!(scopes_of(" a,b  a\nc "), ["a", "b", "c"]);
        assert_eq!(scopes_of(""), [""; 0]);
        let (wanted, granted) = (scopes_of("a b c"), scopes_of("c a"));
        assert_eq!(missing_scopes(&wanted, &granted), ["b"]);
    }
}
