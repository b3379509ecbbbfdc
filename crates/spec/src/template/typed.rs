//! URLs as people type them, and as answers give them.

use url::Url;

/// A base URL as somebody types it: http or https, without user information (E04), query and fragment.
pub(crate) fn base_url(text: &str) -> Result<Url, &'static str> {
    const RULE: &str = "must be an absolute http or https URL without user information, query and fragment";
    let url = endpoint(text).map_err(|_| RULE)?;
    if url.query().is_none() { Ok(url) } else { Err(RULE) }
}

/// The URL of an endpoint as somebody types it: http or https, without user information and fragment.
pub(crate) fn endpoint(text: &str) -> Result<Url, &'static str> {
    const RULE: &str = "must be an absolute http or https URL without user information and fragment";
    let clean = text
        .bytes()
        .all(|b| b.is_ascii_graphic() && !b"\\{}<>\"^`|".contains(&b));
    let (_, rest) = text
        .split_once("://")
        .filter(|(scheme, _)| matches!(*scheme, "http" | "https"))
        .ok_or(RULE)?;
    let url = Url::parse(text).map_err(|_| RULE)?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let plain = !authority.is_empty() && !authority.contains(['@', '%']) && !authority.ends_with(':');
    let plain = plain && url.fragment().is_none();
    if clean && plain { Ok(url) } else { Err(RULE) }
}
