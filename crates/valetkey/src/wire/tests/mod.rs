//! The wire against peers that misbehave, on loopback sockets.

mod address;
mod closing;
mod fake;
mod guard;
mod pooling;
mod resolving;
mod sending;
mod slow;
mod tls;
mod trouble;
mod upstream;

use std::time::Duration;

use http::Method;
use url::Url;
use valetkey_core::{Request, Response};
use valetkey_engine::wire::{Limits, Outcome, Wire as _, WireError};

use super::{HyperWire, WireSettings};
use fake::{FakeResolver, FakeServer, Peer};

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);

/// Nothing but public https.
fn strict() -> WireSettings {
    WireSettings {
        allowed_hosts: vec!["*".to_owned()],
        allow_networks: Vec::new(),
        allow_insecure_http: Vec::new(),
        upstreams: Vec::new(),
        extra_ca_file: None,
        connect_timeout: Duration::from_secs(5),
        token_connections: 16,
    }
}

/// Loopback, without TLS.
fn local() -> WireSettings {
    WireSettings {
        allow_networks: vec!["127.0.0.0/8".parse().expect("a network")],
        allow_insecure_http: vec!["127.0.0.1".to_owned(), "api.example".to_owned()],
        ..strict()
    }
}

fn wire(settings: &WireSettings) -> HyperWire {
    HyperWire::new(settings).expect("good settings")
}

fn check(settings: &WireSettings, text: &str) -> Result<(), WireError> {
    wire(settings).check(&url(text))
}

fn url(text: &str) -> Url {
    text.parse().expect("a URL")
}

fn get(text: &str) -> Request {
    Request::new(Method::GET, url(text))
}

fn post(text: &str, body: &str) -> Request {
    let mut request = Request::new(Method::POST, url(text));
    request.body = body.as_bytes().to_vec();
    request
}

/// A short name for how a token request ended.
#[derive(Debug, PartialEq)]
enum End {
    NotSent(WireError),
    Answered(u16, String),
    Uncertain(WireError),
}

async fn token(wire: &HyperWire, request: Request, deadline: Duration) -> End {
    match wire.send_token(request, deadline).await {
        Outcome::NotSent(error) => End::NotSent(error),
        Outcome::Answered(answer) => End::Answered(answer.status, text(&answer)),
        Outcome::Uncertain(error) => End::Uncertain(error),
    }
}

async fn api(wire: &HyperWire, request: Request, max_body: usize) -> Result<Response, WireError> {
    wire.send_api(
        request,
        Limits {
            timeout: LONG,
            max_body,
        },
    )
    .await
}

fn text(answer: &Response) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

/// An answer with a body of known length.
fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}
