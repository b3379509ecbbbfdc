//! What every request passes on its way in and out: its id, its space, the log, the count, the headers that every answer
//! has.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use ipnet::IpNet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tower::ServiceExt as _;
use valetkey_core::{ErrorCode, Rng, SpaceId};
use valetkey_engine::{Caller, Engine, Error};

use super::error::{ApiError, Pending, write_body};

/// What browsers are told where they reach us over https: never to come without it (RFC 6797 section 6.1).
const HTTPS_FOR_A_YEAR: &str = "max-age=31536000";

/// What an answer may load that is no page: nothing.
const NO_PAGE: &str = "default-src 'none'; frame-ancestors 'none'";

/// The other end of a connection: its address, also as text, made once for all its requests.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    ip: IpAddr,
    text: Arc<str>,
}

impl Peer {
    pub(crate) fn new(ip: IpAddr) -> Self {
        Self {
            ip,
            text: ip.to_string().into(),
        }
    }
}

/// What is known of a request before anything else.
#[derive(Clone, Debug)]
pub(crate) struct Meta {
    /// Its id, in the log and in every answer.
    pub(crate) request_id: Arc<str>,
    /// The space of its path.
    pub(crate) space: SpaceId,
    /// Where it comes from.
    pub(crate) address: Arc<str>,
    /// Who makes it, once that is known.
    pub(crate) caller: Arc<OnceLock<Caller>>,
}

/// Requests by class of status.
#[derive(Clone, Debug, Default)]
pub(crate) struct FrontMetrics {
    requests: Family<[(&'static str, &'static str); 1], Counter>,
}

impl FrontMetrics {
    /// Makes the counter visible.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "valetkey_http_request",
            "Requests, by class of status",
            self.requests.clone(),
        );
    }

    fn count(&self, status: StatusCode) {
        let class = match status.as_u16() / 100 {
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        self.requests.get_or_create(&[("status", class)]).inc();
    }
}

/// The front of the house.
#[derive(Debug)]
pub(crate) struct Front {
    engine: Arc<Engine>,
    router: Router,
    metrics: FrontMetrics,
    trusted_proxies: Vec<IpNet>,
    /// Request ids are a random start of this process and a number: unique, and cheap.
    start: String,
    count: AtomicU64,
}

impl Front {
    pub(crate) fn new(
        engine: Arc<Engine>,
        router: Router,
        metrics: FrontMetrics,
        trusted_proxies: Vec<IpNet>,
        rng: &dyn Rng,
    ) -> Self {
        let start = valetkey_core::encode::hex(&rng.bytes::<8>());
        Self {
            engine,
            router,
            metrics,
            trusted_proxies,
            start,
            count: AtomicU64::new(0),
        }
    }

    /// Answers one request.
    pub(crate) async fn answer(&self, mut request: Request, peer: &Peer) -> Response {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let request_id: Arc<str> = format!("{}-{number:x}", self.start).into();
        let method = request.method().clone();
        let asked = request.uri().clone();
        let address = match client_address(&self.trusted_proxies, peer.ip, request.headers()) {
            ip if ip == peer.ip => Arc::clone(&peer.text),
            ip => ip.to_string().into(),
        };
        let mut response = match split_space(request.uri()) {
            Ok((space, rest)) => {
                if let Some(rest) = rest {
                    *request.uri_mut() = rest;
                }
                let request_id = Arc::clone(&request_id);
                let meta = Meta {
                    request_id,
                    space,
                    address,
                    caller: Arc::default(),
                };
                request.extensions_mut().insert(meta.clone());
                let Ok(response) = self.router.clone().oneshot(request).await;
                if let Some(Pending(error)) = response.extensions().get() {
                    let caller = meta.caller.get();
                    self.engine
                        .audit_refusal(caller, &meta.space, &meta.address, &meta.request_id, error.code);
                }
                response
            }
            Err(error) => error.into_response(),
        };
        self.finish(&mut response, &request_id, method.as_str(), asked.path());
        response
    }

    /// Writes the body of an error, the headers that every answer has, and the line in the log.
    fn finish(&self, response: &mut Response, request_id: &str, method: &str, path: &str) {
        let pending = response.extensions_mut().remove::<Pending>();
        let status = response.status();
        self.metrics.count(status);
        if let Some(Pending(error)) = &pending {
            log_refusal(error, status.as_u16(), request_id, method, masked_path(path));
            write_body(response, error, request_id);
        } else {
            let (status, path) = (status.as_u16(), masked_path(path));
            tracing::debug!(
                request.id = request_id,
                http.method = method,
                http.path = path,
                http.status = status,
                "request"
            );
        }
        let headers = response.headers_mut();
        if let Ok(value) = HeaderValue::from_str(request_id) {
            headers.insert("x-request-id", value);
        }
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.engine.is_https() {
            headers.insert(
                header::STRICT_TRANSPORT_SECURITY,
                HeaderValue::from_static(HTTPS_FOR_A_YEAR),
            );
        }
        headers
            .entry("cross-origin-resource-policy")
            .or_insert(HeaderValue::from_static("same-origin"));
        headers
            .entry(header::CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
        // What is no page says so, and is shown in no frame either.
        headers
            .entry(header::CONTENT_SECURITY_POLICY)
            .or_insert(HeaderValue::from_static(NO_PAGE));
        headers
            .entry(header::X_FRAME_OPTIONS)
            .or_insert(HeaderValue::from_static("DENY"));
    }
}

/// The caller's address: what a trusted proxy says, else the peer's. Headers from anybody else are not believed.
fn client_address(trusted_proxies: &[IpNet], peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let trusted = |ip: &IpAddr| trusted_proxies.iter().any(|n| n.contains(ip));
    if !trusted(&peer) {
        return peer;
    }
    let values = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|v| v.to_str().ok());
    let hops: Vec<_> = values
        .flat_map(|v| v.split(','))
        .map(|hop| hop.trim().parse::<IpAddr>())
        .collect();
    for hop in hops.into_iter().rev() {
        match hop {
            Ok(ip) if trusted(&ip) => {}
            Ok(ip) => return ip,
            Err(_) => return peer,
        }
    }
    peer
}

/// Splits `/s/{space}` off the path, and turns the older `/internal/actions` into `/api/actions`; what is left is routed as
/// if it had been sent so.
fn split_space(uri: &Uri) -> Result<(SpaceId, Option<Uri>), ApiError> {
    let path = uri.path();
    let (space, rest) = match path.strip_prefix("/s/") {
        None => (SpaceId::default_space(), path),
        Some(rest) => {
            let at = rest.find('/').unwrap_or(rest.len());
            let space = SpaceId::new(&rest[..at]).map_err(|e| {
                ApiError::new(
                    ErrorCode::InvalidSpace,
                    format!("the space in the path is not one: {e}"),
                )
            })?;
            (space, &rest[at..])
        }
    };
    let alias = rest
        .strip_prefix("/internal/actions/")
        .map(|rest| format!("/api/actions/{rest}"));
    if alias.is_none() && rest.len() == path.len() {
        return Ok((space, None));
    }
    let routed = alias.unwrap_or_else(|| {
        if rest.is_empty() {
            "/".to_owned()
        } else {
            rest.to_owned()
        }
    });
    let routed = match uri.query() {
        Some(query) => format!("{routed}?{query}"),
        None => routed,
    };
    let routed = routed
        .parse()
        .map_err(|_| ApiError::new(ErrorCode::InvalidRequest, "the path is malformed"))?;
    Ok((space, Some(routed)))
}

/// The line of a refused request, with the cause that its answer does not have.
fn log_refusal(error: &Error, status: u16, request_id: &str, method: &str, path: &str) {
    let cause = error.cause.as_deref().unwrap_or_default();
    let code = error.code.as_str();
    if status >= 500 {
        tracing::error!(
            request.id = request_id,
            http.method = method,
            http.path = path,
            http.status = status,
            code,
            cause,
            "request"
        );
    } else {
        tracing::info!(
            request.id = request_id,
            http.method = method,
            http.path = path,
            http.status = status,
            code,
            cause,
            "request"
        );
    }
}

/// A path as it may be logged: without what only its owner should know.
fn masked_path(path: &str) -> &str {
    if path.starts_with("/connect/") {
        "/connect/…"
    } else if path.contains("vk_") {
        "(a path with an API key in it)"
    } else {
        path
    }
}

/// An answer of the server itself, before there is a route.
pub(crate) fn plain(status: StatusCode) -> Response<Body> {
    status.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_space_is_split_off_the_path() {
        let split = |p: &str| split_space(&p.parse().expect("a path"));
        let (space, rest) = split("/s/team-a/api/actions/connectors?x=1").expect("a space");
        assert_eq!(
            (space.as_str(), rest.expect("a rest").to_string().as_str()),
            ("team-a", "/api/actions/connectors?x=1")
        );
        let (space, rest) = split("/api/actions/connectors").expect("the default");
        assert_eq!((space.as_str(), rest), ("default", None));
        let (_, rest) = split("/s/team-a/internal/actions/connectors").expect("a space");
        assert_eq!(rest.expect("a rest").path(), "/api/actions/connectors");
        let (_, rest) = split("/internal/actions/connectors").expect("the default");
        assert_eq!(rest.expect("a rest").path(), "/api/actions/connectors");
        assert_eq!(
            masked_path("/api/actions/connector/vk_secret"),
            "(a path with an API key in it)"
        );
        assert_eq!(masked_path("/connect/ticket"), "/connect/…");
        assert!(split("/s/TEAM/api/x").is_err());
        assert!(split("/s//api/x").is_err());
    }

    #[test]
    fn d38_forwarded_addresses_are_believed_from_trusted_proxies_only() {
        let proxies: [IpNet; 1] = ["10.0.0.0/8".parse().expect("a network")];
        let mut headers = HeaderMap::new();
        headers.insert(
            "x-forwarded-for",
            HeaderValue::from_static("6.6.6.6, 203.0.113.9, 10.0.0.2"),
        );
        let peer: IpAddr = "10.0.0.1".parse().expect("an address");
        assert_eq!(client_address(&[], peer, &headers), peer);
        assert_eq!(client_address(&proxies, peer, &headers).to_string(), "203.0.113.9");
    }
}
