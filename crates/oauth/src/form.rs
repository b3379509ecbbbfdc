//! `application/x-www-form-urlencoded`, both ways (RFC 6749 appendix B).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

/// Everything but RFC 3986's unreserved characters. `~` is left alone, which every decoder accepts and which spares the
/// secrets that contain it from the many servers that do not decode.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A query. Spaces become `%20`, which form decoders and URL decoders read alike.
pub(crate) fn query<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push('&');
        }
        out.extend(utf8_percent_encode(name, ENCODED));
        out.push('=');
        out.extend(utf8_percent_encode(value, ENCODED));
    }
    out
}

/// A body. It is allocated once, at its largest possible size, so that no outgrown buffer keeps a secret.
pub(crate) fn body(pairs: &[(&str, &str)]) -> Vec<u8> {
    let room = pairs
        .iter()
        .map(|(name, value)| 3 * (name.len() + value.len()) + 2)
        .sum();
    let mut out = Vec::with_capacity(room);
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push(b'&');
        }
        out.extend(chunks(name).flat_map(str::bytes));
        out.push(b'=');
        out.extend(chunks(value).flat_map(str::bytes));
    }
    out
}

/// One value, as RFC 6749 section 2.3.1 wants it before Base64.
pub(crate) fn encode(text: &str) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(3 * text.len()));
    out.extend(chunks(text));
    out
}

fn chunks(text: &str) -> impl Iterator<Item = &str> {
    utf8_percent_encode(text, ENCODED).map(|chunk| if chunk == "%20" { "+" } else { chunk })
}

/// The pairs of a query or body, in order; `None` in place of one that is not percent-encoded UTF-8.
pub(crate) fn pairs(text: &[u8]) -> impl Iterator<Item = Option<(String, String)>> {
    text.split(|b| *b == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let mut parts = pair.splitn(2, |b| *b == b'=');
        let name = decode(parts.next().unwrap_or_default())?;
        let value = decode(parts.next().unwrap_or_default())?;
        Some((name, value))
    })
}

fn decode(text: &[u8]) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => hex(*rest.next()?)? << 4 | hex(*rest.next()?)?,
            other => *other,
        });
    }
    String::from_utf8(out).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6749_appendix_b_vector() {
        assert_eq!(encode(" %&+£€").as_str(), "+%25%26%2B%C2%A3%E2%82%AC");
        let read: Vec<_> = pairs(b"a=+%25%26%2B%C2%A3%E2%82%AC&b&=c&&").collect();
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(read, [pair("a", " %&+£€"), pair("b", ""), pair("", "c")]);
    }

    #[test]
    fn malformed_encodings_are_refused_one_by_one() {
        for bad in ["%", "%4", "%zz", "%ff", "%C0%80", "%ED%A0%80", "%+1"] {
            let text = format!("a=1&b={bad}&c=3");
            let read: Vec<_> = pairs(text.as_bytes()).collect();
            assert!(read[0].is_some() && read[1].is_none() && read[2].is_some(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_encoded_reads_back(name in ".*", value in ".*") {
            let both = Some((name.clone(), value.clone()));
            proptest::prop_assert_eq!(pairs(&body(&[(&name, &value)])).next().flatten(), both.clone());
            proptest::prop_assert_eq!(pairs(query([(&*name, &*value)]).as_bytes()).next().flatten(), both);
        }
    }
}
