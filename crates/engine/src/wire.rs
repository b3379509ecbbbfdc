//! The network, as the engine sees it.
//!
//! One implementation serves every outbound socket of the process. It decides where a request may go (address guard,
//! `allowed_hosts`, https only unless the operator says otherwise), applies `upstreams`, never follows a redirect, never
//! repeats a request, and reads bodies to a limit.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use url::Url;
use valetkey_core::{Request, Response};

/// Why a request brought no answer. None of them names an address or holds a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The host is not in `allowed_hosts`.
    #[error("the host is not in allowed_hosts")]
    HostNotAllowed,
    /// Plain http to a host that is not in `allow_insecure_http`, or a scheme or port that is not for HTTP APIs.
    #[error("only https is allowed")]
    Insecure,
    /// The name resolves to a loopback, private, link-local or otherwise special address (or is one) that no
    /// `allow_networks` entry covers.
    #[error("the address is not a public one")]
    AddressDenied,
    /// The name does not resolve.
    #[error("the host name cannot be resolved")]
    Resolve,
    /// No connection within the time for connecting.
    #[error("cannot connect")]
    Connect,
    /// The TLS handshake failed.
    #[error("the TLS connection failed")]
    Tls,
    /// The request is not one that can be sent: a bad header, method or URL.
    #[error("the request is malformed")]
    Malformed,
    /// The connection broke.
    #[error("the connection broke")]
    Broken,
    /// The time was up.
    #[error("no complete answer in time")]
    Timeout,
    /// The answer's head or body is larger than allowed, or has a content coding that was not asked for.
    #[error("the answer is larger than allowed")]
    TooLarge,
}

/// How a request at a token endpoint ended.
#[derive(Debug)]
pub enum Outcome {
    /// Not one byte of the request left: it may be sent again without any doubt.
    NotSent(WireError),
    /// A complete answer came.
    Answered(Response),
    /// The request left, in part or whole, and no complete answer came: the provider may have acted on it.
    Uncertain(WireError),
}

/// How long an API call may take, and how much it may bring.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the start until the last byte of the answer.
    pub timeout: Duration,
    /// Bytes of body.
    pub max_body: usize,
}

/// Sends requests.
#[async_trait]
pub trait Wire: Send + Sync + fmt::Debug {
    /// Whether `url` could be a destination at all: scheme, port, `allowed_hosts`, literal addresses. No name is resolved
    /// and nothing is sent.
    fn check(&self, url: &Url) -> Result<(), WireError>;

    /// Sends one request to a token endpoint (or revocation, PAR, discovery). A kept-alive connection is used only after
    /// it was proven alive; nothing is retried.
    async fn send_token(&self, request: Request, deadline: Duration) -> Outcome;

    /// Sends one request to a provider's API and reads the answer.
    async fn send_api(&self, request: Request, limits: Limits) -> Result<Response, WireError>;
}
