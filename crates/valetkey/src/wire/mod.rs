//! The outbound half of the process: every socket it opens to a provider is opened here.
//!
//! A request passes `guard` (may it go there?), `target` and `upstreams` (where does it really go?), `prepare` (what is
//! sent), then a `client`, which takes a connection from its `pool` or has `connect` open one.
//!
//! Promises: no redirect is followed, nothing is sent twice, no name is resolved twice for one connection, and neither
//! the environment (`HTTPS_PROXY` and the like) nor a caller's header can choose another way out.

mod address;
mod client;
mod connect;
mod connection;
mod driver;
mod guard;
mod pool;
mod prepare;
mod target;
#[cfg(test)]
mod tests;
mod tls;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ipnet::IpNet;
use url::Url;
use valetkey_core::{Request, Response};
use valetkey_engine::wire::{Limits, Outcome, Wire, WireError};

use client::Client;
use connect::{Connector, Resolver, SystemResolver};
use guard::Guard;
use target::Target;

use crate::workers;

/// Bytes of body of a token endpoint's answer; real ones are a few KiB.
const MAX_TOKEN_BODY: usize = 1024 * 1024;

/// Token endpoints: young connections, because an uncertain outcome is dear. How many wait for one target is a setting, up
/// to all of them: each that is not there costs a handshake when many tokens are due at once.
const TOKEN_POOL: pool::Limits = pool::Limits {
    per_target: 256,
    total: 256,
    idle: Duration::from_secs(30),
};
/// APIs: as many connections as callers are busy at once.
const API_POOL: pool::Limits = pool::Limits {
    per_target: 128,
    total: 256,
    idle: Duration::from_secs(90),
};

/// Where requests may go, and how.
#[derive(Clone, Debug)]
pub(crate) struct WireSettings {
    /// `*`, a host, or `*.` and a domain for any name below it.
    pub(crate) allowed_hosts: Vec<String>,
    /// Networks that may be reached although they are loopback, private or otherwise special, or are this machine's
    /// own. An address that serves cloud credentials must be listed by itself, as a /32 or /128.
    pub(crate) allow_networks: Vec<IpNet>,
    /// `host` or `host:port` that may be spoken to without TLS.
    pub(crate) allow_insecure_http: Vec<String>,
    /// Pairs of origins: what is for the first goes to the second, which is exempt from the rules above.
    pub(crate) upstreams: Vec<(Url, Url)>,
    /// PEM file with certificates to trust besides the operating system's.
    pub(crate) extra_ca_file: Option<PathBuf>,
    /// For name resolution, TCP and TLS together.
    pub(crate) connect_timeout: Duration,
    /// Connections to one token endpoint that are kept for the next request at most: as many as requests may be under way
    /// to it.
    pub(crate) token_connections: usize,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireSetupError {
    /// An entry of a list of hosts is not a host.
    #[error("{setting}: `{entry}` is not a host")]
    Host {
        /// The setting.
        setting: &'static str,
        /// The entry.
        entry: String,
    },
    /// One side of a pair is more or less than an http or https origin.
    #[error("upstreams: `{entry}` is not an origin such as https://example.com")]
    Origin {
        /// The side, without the user name and password it may hold.
        entry: String,
    },
    /// The same origin is sent to two places.
    #[error("upstreams: `{entry}` is there twice")]
    Twice {
        /// The origin.
        entry: String,
    },
    /// The file of certificates cannot be read or holds none.
    #[error("cannot read certificates from {}: {reason}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(#[source] rustls::Error),
}

/// The network, over hyper.
pub(crate) struct HyperWire {
    connector: Arc<Connector>,
    upstreams: HashMap<Target, Target>,
    token: Client,
    api: Client,
}

impl HyperWire {
    /// Reads the settings and the trusted certificates. Opens nothing.
    pub(crate) fn new(settings: &WireSettings) -> Result<Self, WireSetupError> {
        Self::with_resolver(settings, Box::new(SystemResolver::default()))
    }

    fn with_resolver(settings: &WireSettings, resolver: Box<dyn Resolver>) -> Result<Self, WireSetupError> {
        let connector = Arc::new(Connector {
            guard: Guard::new(settings)?,
            resolver,
            tls: tls::client_config(settings.extra_ca_file.as_deref())?,
            connect_timeout: settings.connect_timeout,
        });
        let token_pool = pool::Limits {
            per_target: settings.token_connections.min(TOKEN_POOL.per_target),
            ..TOKEN_POOL
        };
        Ok(Self {
            upstreams: read_upstreams(&settings.upstreams)?,
            token: Client::new(Arc::clone(&connector), token_pool, 1),
            api: Client::new(Arc::clone(&connector), API_POOL, workers::count()),
            connector,
        })
    }

    /// Where a request for this URL is sent, if it may be.
    fn route(&self, url: &Url) -> Result<Target, WireError> {
        let target = Target::of(url)?;
        self.connector.guard.check_host(&target)?;
        if let Some(upstream) = self.upstreams.get(&target) {
            return Ok(upstream.clone());
        }
        self.connector.guard.check_place(&target)?;
        Ok(target)
    }

    async fn send(&self, client: &Client, request: Request, max_body: usize, deadline: Duration) -> Outcome {
        let prepared = self
            .route(&request.url)
            .and_then(|target| Ok((prepare::prepare(request, &target)?, target)));
        match prepared {
            Ok((request, target)) => client.send(target, request, max_body, deadline).await,
            Err(error) => Outcome::NotSent(error),
        }
    }
}

#[async_trait]
impl Wire for HyperWire {
    fn check(&self, url: &Url) -> Result<(), WireError> {
        self.route(url).map(drop)
    }

    async fn send_token(&self, request: Request, deadline: Duration) -> Outcome {
        self.send(&self.token, request, MAX_TOKEN_BODY, deadline).await
    }

    async fn send_api(&self, request: Request, limits: Limits) -> Result<Response, WireError> {
        match self.send(&self.api, request, limits.max_body, limits.timeout).await {
            Outcome::Answered(answer) => Ok(answer),
            Outcome::NotSent(error) | Outcome::Uncertain(error) => Err(error),
        }
    }
}

impl fmt::Debug for HyperWire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HyperWire").finish_non_exhaustive()
    }
}

fn read_upstreams(pairs: &[(Url, Url)]) -> Result<HashMap<Target, Target>, WireSetupError> {
    let mut upstreams = HashMap::new();
    for (from, to) in pairs {
        let upstream = Target {
            trusted: true,
            ..read_origin(to)?
        };
        if upstreams.insert(read_origin(from)?, upstream).is_some() {
            return Err(WireSetupError::Twice {
                entry: from.origin().ascii_serialization(),
            });
        }
    }
    Ok(upstreams)
}

fn read_origin(url: &Url) -> Result<Target, WireSetupError> {
    Target::of_origin(url).ok_or_else(|| WireSetupError::Origin {
        entry: url.origin().ascii_serialization(),
    })
}
