//! The pages that a person's browser sees: the connect page, the end of a flow, and what they load.
//!
//! No page has an inline script or style; everything that a provider or a person wrote is escaped by the templates, cut,
//! and stripped of characters that change how the rest is read. Every text of ours is in `locales/en.ftl`.

pub(crate) mod assets;
pub(crate) mod callback;
pub(crate) mod connect;
mod look;
mod text;
mod visit;

use std::collections::BTreeMap;

use anyhow::Result;
use askama::Template;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::config::Config;
use look::Look;
use text::{Catalogue, Texts};
pub(crate) use visit::Visit;

/// The longest text that a page shows of what others wrote.
const MAX_TEXT: usize = 200;

const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     worker-src 'none'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// What all pages share: their look and their languages.
pub(crate) struct Pages {
    look: Look,
    texts: Catalogue,
}

impl Pages {
    /// Reads what the settings name.
    pub(crate) fn new(config: &Config) -> Result<Self> {
        Ok(Self {
            look: Look::new(&config.brand),
            texts: Catalogue::load(config.locales_dir.as_deref())?,
        })
    }
}

/// What stands around the contents of every page.
#[derive(Clone, Copy)]
struct Frame<'a> {
    look: &'a Look,
    t: Texts<'a>,
}

fn render(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => page(status, html),
        Err(error) => {
            tracing::error!(%error, "a page cannot be rendered");
            page(StatusCode::INTERNAL_SERVER_ERROR, String::new())
        }
    }
}

/// There is no `Cross-Origin-Opener-Policy`: it would take the window out of sight of the page that opened it, which could
/// then not tell a window that was closed from one that is in use. The other way round nothing is left to cut: the client
/// library disowns the window before it leaves for here, and the callback page's script does so again.
pub(crate) fn page(status: StatusCode, html: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::VARY, "accept-language"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            header::HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            header::HeaderName::from_static("permissions-policy"),
            "camera=(), geolocation=(), microphone=()",
        ),
    ];
    (status, headers, html).into_response()
}

fn redirect(url: &str) -> Response {
    let mut response = page(StatusCode::FOUND, String::new());
    match HeaderValue::from_str(url) {
        Ok(location) => {
            response.headers_mut().insert(header::LOCATION, location);
            response
        }
        Err(_) => page(StatusCode::INTERNAL_SERVER_ERROR, String::new()),
    }
}

pub(crate) fn set_cookie(response: &mut Response, value: &str) {
    if let Ok(mut value) = HeaderValue::from_str(value) {
        value.set_sensitive(true);
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

/// The cookies of a request. Of two with one name neither counts: one of them was planted.
pub(crate) fn cookies(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut doubled = Vec::new();
    let pairs = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(';'));
    for (name, value) in pairs.filter_map(|pair| pair.trim().split_once('=')) {
        if found
            .insert(name.to_owned(), value.to_owned())
            .is_some_and(|before| before != value)
        {
            doubled.push(name.to_owned());
        }
    }
    for name in doubled {
        found.remove(&name);
    }
    found
}

/// What others wrote, as a page may show it: short, and without characters that hide or turn text around.
fn shown(text: &str) -> String {
    let mut seen = text.chars().filter(|c| !is_hidden(*c));
    let mut out: String = seen.by_ref().take(MAX_TEXT).collect();
    if seen.next().is_some() {
        out.push('…');
    }
    out
}

/// Controls, format characters (marks of direction, joiners, tags), separators of lines and paragraphs, private use, and
/// letters without a shape: what the console leaves out as well.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{e000}'..='\u{f8ff}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}' | '\u{f0000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f05_texts_are_cut_and_cannot_turn_around() {
        assert_eq!(shown("a\u{202e}b\u{200b}c\nd"), "abcd");
        // An Arabic mark of direction, a soft hyphen, a separator of lines, a letter without a shape, a tag.
        assert_eq!(shown("a\u{61c}b\u{ad}c\u{2028}d\u{3164}e\u{e0041}f"), "abcdef");
        assert_eq!(shown("Zoë 李 שלום"), "Zoë 李 שלום");
        // What is left out does not count.
        assert_eq!(shown(&"x\u{200b}".repeat(MAX_TEXT)), "x".repeat(MAX_TEXT));
        assert_eq!(shown(&"x".repeat(2000)).chars().count(), MAX_TEXT + 1);
    }

    #[test]
    fn a12_a_cookie_that_comes_twice_does_not_count() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; b=2; a=3"));
        headers.append(header::COOKIE, HeaderValue::from_static("c=4"));
        let cookies = cookies(&headers);
        assert_eq!(cookies.keys().collect::<Vec<_>>(), ["b", "c"]);
    }
}
