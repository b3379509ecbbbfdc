//! Opens connections: one resolution, every answer checked, the socket goes to a checked address.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use url::Host;
use valetkey_engine::wire::WireError;

use super::address::LOOPBACK;
use super::connection::Connection;
use super::guard::{Guard, is_localhost};
use super::target::Target;

/// How long a name may take: two tries of two seconds. Nothing is remembered of an answer or of a failure, so neither
/// outlives the connection that it was asked for.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(4);

/// How many names are looked up at once: fewer than there are threads for what blocks, so that names whose servers say
/// nothing leave room for other work. A lookup that nobody waits for any more holds its place until the system gives up.
const LOOKUPS: usize = 256;

/// How many addresses of a name are tried. All of them are checked.
const MAX_TRIED: usize = 16;

/// The least time one of several addresses gets, so that many dead ones cannot starve a live one of its handshake.
const LEAST_ATTEMPT: Duration = Duration::from_millis(250);

/// Answers for names. Asked once for each connection that is opened.
#[async_trait]
pub(super) trait Resolver: Send + Sync {
    /// The addresses of a name, in the order in which to try them.
    async fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The operating system's resolver.
pub(super) struct SystemResolver {
    lookups: Arc<Semaphore>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self {
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
        }
    }
}

impl SystemResolver {
    /// Runs a lookup where it may block. Whoever asked may go away; the lookup cannot, and counts until it ends.
    async fn block<T: Send + 'static>(&self, lookup: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
        let place = Arc::clone(&self.lookups).acquire_owned().await;
        let place = place.map_err(io::Error::other)?;
        let looked_up = tokio::task::spawn_blocking(move || {
            let found = lookup();
            drop(place);
            found
        });
        looked_up.await.map_err(io::Error::other)?
    }
}

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let name = name.to_owned();
        self.block(move || (name.as_str(), port).to_socket_addrs().map(Iterator::collect))
            .await
    }
}

/// Opens connections within the operator's rules.
pub(super) struct Connector {
    pub(super) guard: Guard,
    pub(super) resolver: Box<dyn Resolver>,
    pub(super) tls: Arc<ClientConfig>,
    /// For resolution, TCP and TLS together.
    pub(super) connect_timeout: Duration,
}

impl Connector {
    /// Opens a connection. Nothing of a request has left when this fails.
    pub(super) async fn connect(&self, target: &Target) -> Result<Connection, WireError> {
        let deadline = Instant::now() + self.connect_timeout;
        let opened = timeout(self.connect_timeout, self.open(target, deadline)).await;
        opened.unwrap_or(Err(WireError::Connect))
    }

    async fn open(&self, target: &Target, deadline: Instant) -> Result<Connection, WireError> {
        let addresses = self.addresses(target).await?;
        let (stream, probe) = dial(&addresses, deadline).await.map_err(|error| {
            tracing::debug!(host = %target.host, error = %error.kind(), "cannot connect");
            WireError::Connect
        })?;
        if !target.https {
            return Connection::open(TokioIo::new(stream), probe).await;
        }
        let stream = TlsConnector::from(Arc::clone(&self.tls))
            .connect(server_name(target)?, stream)
            .await;
        let stream = stream.map_err(|error| {
            tracing::debug!(host = %target.host, %error, "TLS failed");
            WireError::Tls
        })?;
        Connection::open(TokioIo::new(stream), probe).await
    }

    /// The addresses to try, all of them permitted.
    async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, WireError> {
        let at = |ip: IpAddr| SocketAddr::new(ip, target.port);
        let answers = match &target.host {
            Host::Ipv4(ip) => vec![at(IpAddr::V4(*ip))],
            Host::Ipv6(ip) => vec![at(IpAddr::V6(*ip))],
            // Known without asking; whichever of the two the operator permits will do.
            Host::Domain(name) if is_localhost(name) => LOOPBACK
                .into_iter()
                .filter(|ip| target.trusted || self.guard.permits(*ip))
                .map(at)
                .collect(),
            Host::Domain(name) => self.resolve(name, target.port).await?,
        };
        if !target.trusted {
            // Again for literal addresses too: this is the last gate before a socket.
            self.guard.check_place(target)?;
            self.guard.check_answers(&answers)?;
        }
        Ok(answers)
    }

    async fn resolve(&self, name: &str, port: u16) -> Result<Vec<SocketAddr>, WireError> {
        let asked = timeout(RESOLVE_TIMEOUT, self.resolver.resolve(name, port)).await;
        let answers = asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let answers = answers.unwrap_or_else(|error| {
            tracing::debug!(host = name, error = %error.kind(), "cannot resolve");
            Vec::new()
        });
        if answers.is_empty() {
            Err(WireError::Resolve)
        } else {
            Ok(answers)
        }
    }
}

/// Connects to the first address that answers. Each gets an equal share of the time that is left, so that a dead first
/// one leaves time for the others.
async fn dial(addresses: &[SocketAddr], deadline: Instant) -> io::Result<(TcpStream, std::net::TcpStream)> {
    let addresses = &addresses[..addresses.len().min(MAX_TRIED)];
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let others = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        match timeout((left / others).max(LEAST_ATTEMPT), TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return with_probe(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

/// The stream, and a second handle to its socket through which [`Connection`] asks the kernel whether the peer is
/// there.
fn with_probe(stream: TcpStream) -> io::Result<(TcpStream, std::net::TcpStream)> {
    stream.set_nodelay(true)?;
    let stream = stream.into_std()?;
    let probe = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, probe))
}

fn server_name(target: &Target) -> Result<ServerName<'static>, WireError> {
    match &target.host {
        Host::Domain(name) => ServerName::try_from(name.clone()).map_err(|_| WireError::Malformed),
        Host::Ipv4(ip) => Ok(ServerName::from(IpAddr::V4(*ip))),
        Host::Ipv6(ip) => Ok(ServerName::from(IpAddr::V6(*ip))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn e40_a_lookup_that_nobody_waits_for_holds_its_place_until_it_ends() {
        let resolver = SystemResolver {
            lookups: Arc::new(Semaphore::new(1)),
        };
        let (end, hanging) = mpsc::channel::<()>();
        let stuck = resolver.block(move || hanging.recv().map_err(io::Error::other));
        let soon = Duration::from_millis(50);
        assert!(timeout(soon, stuck).await.is_err(), "nobody waits any longer");
        assert!(
            timeout(soon, resolver.block(|| Ok(1))).await.is_err(),
            "there is one place"
        );
        end.send(()).expect("a lookup");
        assert_eq!(resolver.block(|| Ok(2)).await.expect("an answer"), 2);
    }

    #[tokio::test]
    async fn e40_the_systems_answers_come_with_the_port() {
        let found = SystemResolver::default().resolve("127.0.0.1", 443).await;
        assert_eq!(found.expect("an answer"), [SocketAddr::from(([127, 0, 0, 1], 443))]);
    }
}
