//! A visit: what every page that a person's browser comes to begins with.

use std::collections::BTreeMap;

use axum::extract::FromRequestParts;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};

use super::{Frame, cookies, page};
use crate::http::front::Meta;
use crate::http::router::AppState;

/// A browser that a person brought here. Who only looks, fetches ahead, or wants the page as a part of another one is turned
/// away before anything is used up or bound.
pub(crate) struct Visit {
    pub(crate) state: AppState,
    pub(crate) meta: Meta,
    headers: HeaderMap,
}

impl FromRequestParts<AppState> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Response> {
        let refuse = |status| page(status, String::new());
        if let Some(status) = refusal(&parts.method, &parts.headers) {
            return Err(refuse(status));
        }
        let meta = parts.extensions.get::<Meta>().cloned();
        Ok(Self {
            state: state.clone(),
            meta: meta.ok_or_else(|| refuse(StatusCode::INTERNAL_SERVER_ERROR))?,
            headers: parts.headers.clone(),
        })
    }
}

impl Visit {
    /// The look and the language of what this browser is shown.
    pub(super) fn frame(&self) -> Frame<'_> {
        let pages = &self.state.pages;
        Frame {
            look: &pages.look,
            t: pages.texts.preferred(&self.headers),
        }
    }

    /// What the browser brought.
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The cookies that the browser brought.
    pub(crate) fn cookies(&self) -> BTreeMap<String, String> {
        cookies(&self.headers)
    }
}

/// Why a request is no visit.
fn refusal(method: &Method, headers: &HeaderMap) -> Option<StatusCode> {
    if method == Method::HEAD {
        return Some(StatusCode::METHOD_NOT_ALLOWED);
    }
    if is_prefetch(headers) {
        return Some(StatusCode::SERVICE_UNAVAILABLE);
    }
    // Browsers say what an answer is for (Fetch Metadata): frames, images and scripts of other pages are nobody's visit.
    let is_part = headers.get("sec-fetch-dest").is_some_and(|dest| dest != "document");
    is_part.then_some(StatusCode::FORBIDDEN)
}

fn is_prefetch(headers: &HeaderMap) -> bool {
    ["sec-purpose", "purpose"]
        .iter()
        .filter_map(|name| headers.get(*name)?.to_str().ok())
        .any(|value| value.to_ascii_lowercase().contains("prefetch"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn refused(method: &Method, name: &'static str, value: &'static str) -> Option<u16> {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        refusal(method, &headers).map(|status| status.as_u16())
    }

    #[test]
    fn a37_heads_and_prefetching_are_no_visits() {
        assert_eq!(refused(&Method::HEAD, "accept", "text/html"), Some(405));
        assert_eq!(refused(&Method::GET, "sec-purpose", "prefetch;prerender"), Some(503));
        assert_eq!(refused(&Method::GET, "purpose", "Prefetch"), Some(503));
        assert_eq!(refused(&Method::GET, "accept", "text/html"), None);
    }

    #[test]
    fn a11_f21_parts_of_other_pages_are_no_visits() {
        for part in ["iframe", "frame", "image", "script", "object", "embed", "empty"] {
            assert_eq!(refused(&Method::GET, "sec-fetch-dest", part), Some(403), "{part}");
        }
        assert_eq!(refused(&Method::GET, "sec-fetch-dest", "document"), None);
    }
}
