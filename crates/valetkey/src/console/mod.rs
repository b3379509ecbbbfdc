//! The web console: a page for people that is a client of the HTTP API and keeps nothing of its own.
//!
//! There is one document for every path below `/app`; what it shows follows from the path, and everything it knows it asks the
//! API for, with the session's cookie. So nothing here needs to know who asks: the document, its files and the icons are the
//! same for everybody, and say nothing about what is stored.

mod assets;

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use valetkey_engine::Engine;

/// `connect-src` is what the API is asked with. Trusted types are demanded and no policy is allowed to make any, so that no text
/// can become markup or script.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; worker-src 'none'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

/// An icon is somebody's SVG document: opened on its own it may do nothing at all.
const ICON_POLICY: &str = "default-src 'none'; sandbox";

#[derive(Template)]
#[template(path = "console.html")]
struct Shell {
    hash: &'static str,
    modules: Vec<&'static str>,
}

/// The routes of the console.
pub(crate) fn router(engine: Arc<Engine>) -> Router {
    Router::new()
        .route("/app", get(shell))
        .route("/app/", get(shell))
        .route("/app/{*path}", get(shell))
        .route("/app/assets/{hash}/{*name}", get(asset))
        .route("/app/icons/{type}", get(icon))
        .with_state(engine)
        .layer(middleware::from_fn(isolate))
}

/// The document, for every path.
async fn shell() -> Response {
    let template = Shell {
        hash: assets::HASH.as_str(),
        modules: assets::EMBEDDED
            .iter()
            .filter(|file| file.is_first() && file.name != "main.js")
            .map(|file| file.name)
            .collect(),
    };
    let html = match template.render() {
        Ok(html) => html,
        Err(error) => {
            tracing::error!(%error, "the console cannot be rendered");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            header::HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            header::HeaderName::from_static("permissions-policy"),
            "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        ),
    ];
    (headers, html).into_response()
}

/// One file of the console. The hash of another version finds nothing: its files would not fit together.
async fn asset(Path((hash, name)): Path<(String, String)>, headers: HeaderMap) -> Response {
    let Some(file) = assets::find(&name).filter(|_| hash == *assets::HASH) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let fixed = [
        (header::CONTENT_TYPE, file.media_type()),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
        (header::VARY, "accept-encoding"),
    ];
    if accepts_gzip(&headers) {
        (fixed, [(header::CONTENT_ENCODING, "gzip")], file.packed).into_response()
    } else {
        (fixed, file.plain).into_response()
    }
}

/// The icon of a connector type.
async fn icon(State(engine): State<Arc<Engine>>, Path(type_id): Path<String>) -> Response {
    let Some(svg) = engine.connector_type_icon(&type_id) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, "image/svg+xml"),
        (header::CACHE_CONTROL, "public, max-age=3600"),
        (header::CONTENT_SECURITY_POLICY, ICON_POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    (headers, svg).into_response()
}

/// Keeps other sites from loading anything of the console but by a visit, and from framing it.
async fn isolate(request: Request, next: Next) -> Response {
    let foreign = is_foreign(request.method(), request.headers());
    let mut response = if foreign {
        StatusCode::FORBIDDEN.into_response()
    } else {
        next.run(request).await
    };
    response
        .headers_mut()
        .insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    response
}

/// Whether a page of another site asks for this as a part of itself.
fn is_foreign(method: &Method, headers: &HeaderMap) -> bool {
    let is = |name: &str, value: &str| headers.get(name).is_some_and(|v| v == value);
    let visit = *method == Method::GET && is("sec-fetch-mode", "navigate") && is("sec-fetch-dest", "document");
    (is("sec-fetch-site", "cross-site") || is("sec-fetch-site", "same-site")) && !visit
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            Some((parts.next()?, parts.next()))
        })
        .any(|(coding, weight)| coding.eq_ignore_ascii_case("gzip") && !weight.is_some_and(is_zero))
}

/// A weight of nothing means "not this one".
fn is_zero(weight: &str) -> bool {
    weight
        .strip_prefix("q=")
        .and_then(|q| q.trim().parse::<f32>().ok())
        .is_some_and(|q| q <= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().expect("a name"), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        assert!(accepts_gzip(&headers(&[("accept-encoding", "br, gzip;q=0.5")])));
        assert!(!accepts_gzip(&headers(&[("accept-encoding", "br, gzip;q=0")])));
        assert!(!accepts_gzip(&headers(&[])));
    }

    #[test]
    fn f21_other_sites_may_link_here_and_load_nothing() {
        let image = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")];
        assert!(is_foreign(&Method::GET, &headers(&image)));
        let frame = [
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "iframe"),
        ];
        assert!(is_foreign(&Method::GET, &headers(&frame)));
        let link = [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        assert!(!is_foreign(&Method::GET, &headers(&link)));
        assert!(!is_foreign(
            &Method::GET,
            &headers(&[("sec-fetch-site", "same-origin")])
        ));
    }

    #[test]
    fn no_module_needs_an_import_map() {
        for file in assets::EMBEDDED
            .iter()
            .filter(|f| f.media_type().starts_with("text/javascript"))
        {
            let text = std::str::from_utf8(file.plain).expect("UTF-8");
            assert!(!text.contains("from\"preact\""), "{}", file.name);
        }
        assert!(assets::find("main.js").is_some() && assets::find("console.css").is_some());
        assert!(assets::find("vendor/README.md").is_none());
    }
}
