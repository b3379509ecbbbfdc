//! What the demo's two little web servers share: listening, pages under a strict policy, forms, and who may post.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Result, bail};
use askama::Template;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::Rng;

use crate::system::SystemRng;

/// How many ports are tried for the server.
const MAX_TRIES: usize = 100;

/// A listener with its address.
pub(super) struct Web {
    listener: TcpListener,
    origin: String,
}

impl Web {
    /// Listens on the port, or on a free one if it is taken.
    pub(super) async fn bind(port: u16) -> Result<Self> {
        let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?,
        };
        let origin = format!("http://{}", listener.local_addr()?);
        Ok(Self { listener, origin })
    }

    /// `http://127.0.0.1:7421`.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// Serves on a task until `closing`.
    pub(super) fn serve(self, router: Router, tasks: &TaskTracker, closing: &CancellationToken) {
        let router = router
            .route(
                "/assets/pages.css",
                get(async || asset(CSS, include_str!("../../assets/pages.css"))),
            )
            .route(
                "/assets/demo.css",
                get(async || asset(CSS, include_str!("../../assets/demo.css"))),
            )
            .route(
                "/assets/demo.js",
                get(async || asset(SCRIPT, include_str!("../../assets/demo.js"))),
            )
            .layer(middleware::from_fn_with_state(self.origin, at_home));
        let closed = closing.clone().cancelled_owned();
        tasks.spawn(async move {
            if let Err(error) = axum::serve(self.listener, router).with_graceful_shutdown(closed).await {
                tracing::error!(%error, "a page of the demo ended");
            }
        });
    }
}

/// An address for the server, which binds it itself a moment later. A free one is taken from below the range that systems
/// hand out by themselves, so that nobody is given it meanwhile.
pub(super) async fn free_address(port: u16) -> Result<SocketAddr> {
    let rng: &dyn Rng = &SystemRng;
    let mut port = port;
    for _ in 0..MAX_TRIES {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if port != 0 && TcpListener::bind(address).await.is_ok() {
            return Ok(address);
        }
        port = 10_000 + u16::from_be_bytes(rng.bytes::<2>()) % 20_000;
    }
    bail!("no port is free on 127.0.0.1")
}

/// What every request passes: who may come in, and the headers that every answer has.
async fn at_home(State(origin): State<String>, request: Request, next: Next) -> Response {
    let mut response = match turn_away(&origin, &request) {
        Some(response) => response,
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Requests under another name are sent to the right one, and posts from other sites are refused: the demo has no login,
/// so that where a request comes from is all there is to tell a person from a page on the Internet.
fn turn_away(origin: &str, request: &Request) -> Option<Response> {
    let text = |name: HeaderName| request.headers().get(name).and_then(|v| v.to_str().ok());
    let reads = request.method() == Method::GET;
    if text(header::HOST) != origin.strip_prefix("http://") {
        let right = format!("{origin}{}", request.uri());
        return Some(if reads {
            Redirect::temporary(&right).into_response()
        } else {
            StatusCode::MISDIRECTED_REQUEST.into_response()
        });
    }
    // Servers send no Origin, browsers do.
    let elsewhere = !reads && text(header::ORIGIN).is_some_and(|o| o != origin);
    elsewhere.then(|| (StatusCode::FORBIDDEN, "posted from another site").into_response())
}

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

fn asset(content_type: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        // Another version of the demo may answer on the same port tomorrow.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text)
}

/// A page. `leads_to` is where its forms may end up besides its own origin: browsers hold redirects against the policy
/// too.
pub(super) fn html(status: StatusCode, template: &impl Template, leads_to: &str) -> Response {
    let Ok(html) = template.render() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; base-uri 'none'; \
         form-action 'self' {leads_to}; frame-ancestors 'none'; require-trusted-types-for 'script'"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        // `no-referrer` would take the Origin off our own forms.
        (header::REFERRER_POLICY, "same-origin"),
    ];
    (status, headers, [(header::CONTENT_SECURITY_POLICY, policy)], html).into_response()
}

/// The parameters of a query or of a form; `None` if one comes twice (RFC 6749 section 3.1).
pub(super) fn parameters(text: &str) -> Option<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
        if found.insert(name.into_owned(), value.into_owned()).is_some() {
            return None;
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_that_comes_twice_spoils_the_form() {
        assert_eq!(
            parameters("a=1&b=x+y%21").map(|p| p["b"].clone()),
            Some("x y!".to_owned())
        );
        assert_eq!(parameters("a=1&a=1"), None);
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_replaced() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = taken.local_addr().expect("an address").port();
        for asked in [port, 0] {
            let found = free_address(asked).await.expect("another").port();
            assert!((10_000..30_000).contains(&found), "{found}");
        }
        let web = Web::bind(port).await.expect("another");
        assert_ne!(web.origin(), format!("http://127.0.0.1:{port}"));
    }

    #[test]
    fn other_sites_cannot_post_and_other_names_are_sent_home() {
        let status = |method: Method, host: &str, origin: Option<&str>| {
            let mut request = Request::builder().method(method).uri("/run").header("host", host);
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            let request = request.body(axum::body::Body::empty()).expect("a request");
            turn_away("http://127.0.0.1:7421", &request).map(|r| r.status().as_u16())
        };
        let here = "127.0.0.1:7421";
        assert_eq!(status(Method::POST, here, Some("http://127.0.0.1:7421")), None);
        assert_eq!(status(Method::POST, here, None), None);
        for origin in ["null", "http://127.0.0.1:7420", "https://evil.example"] {
            assert_eq!(status(Method::POST, here, Some(origin)), Some(403), "{origin}");
        }
        assert_eq!(status(Method::GET, "localhost:7421", None), Some(307));
        assert_eq!(status(Method::POST, "evil.example:7421", None), Some(421));
    }
}
