//! Servers and resolvers that tests script.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::wire::connect::Resolver;
use crate::wire::{HyperWire, WireSettings};

/// What servers saw.
#[derive(Default)]
pub(super) struct Log {
    connections: AtomicUsize,
    requests: Mutex<Vec<String>>,
}

/// A listening socket; each connection is handed to a script.
pub(super) struct FakeServer {
    pub(super) address: SocketAddr,
    pub(super) log: Arc<Log>,
    _tasks: JoinSet<()>,
}

impl FakeServer {
    pub(super) async fn start<F, Fut>(script: F) -> Self
    where
        F: Fn(Peer<TcpStream>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let log = Arc::<Log>::default();
        let seen = Arc::clone(&log);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                seen.connections.fetch_add(1, Ordering::SeqCst);
                connections.spawn(script(Peer {
                    stream,
                    log: Arc::clone(&seen),
                }));
            }
        });
        Self {
            address,
            log,
            _tasks: tasks,
        }
    }

    /// Answers every request with the same bytes.
    pub(super) async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = Arc::new(answer.into());
        Self::start(move |mut peer| {
            let answer = Arc::clone(&answer);
            async move {
                while peer.request().await.is_some() {
                    peer.send(answer.as_slice()).await;
                }
            }
        })
        .await
    }

    /// Answers one request on each connection with these bytes and closes.
    pub(super) async fn closing(answer: impl Into<Vec<u8>>) -> Self {
        let answer = Arc::new(answer.into());
        Self::start(move |mut peer| {
            let answer = Arc::clone(&answer);
            async move {
                peer.request().await;
                peer.send(answer.as_slice()).await;
            }
        })
        .await
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn connections(&self) -> usize {
        self.log.connections.load(Ordering::SeqCst)
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.log.requests.lock().expect("a log").clone()
    }
}

/// The other end of a connection.
pub(super) struct Peer<S> {
    pub(super) stream: S,
    pub(super) log: Arc<Log>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// Reads one request with its body; `None` when the client has closed.
    pub(super) async fn request(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        loop {
            bytes.push(self.stream.read_u8().await.ok()?);
            if bytes.ends_with(b"\r\n\r\n") {
                break;
            }
        }
        let head = String::from_utf8_lossy(&bytes).into_owned();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        self.stream.read_exact(&mut body).await.ok()?;
        let request = head + &String::from_utf8_lossy(&body);
        self.log.requests.lock().expect("a log").push(request.clone());
        Some(request)
    }

    /// Sends; the client may have gone.
    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
        let _ = self.stream.flush().await;
    }

    /// Keeps the connection open and silent until the client goes.
    pub(super) async fn hang(&mut self) {
        while self.stream.read(&mut [0; 1024]).await.is_ok_and(|n| n > 0) {}
    }
}

/// Gives its answers one after the other, then none; counts how often it is asked.
#[derive(Clone, Default)]
pub(super) struct FakeResolver {
    answers: Arc<Mutex<VecDeque<Vec<SocketAddr>>>>,
    asked: Arc<AtomicUsize>,
}

impl FakeResolver {
    pub(super) fn new(answers: impl IntoIterator<Item = Vec<SocketAddr>>) -> Self {
        Self {
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            asked: Arc::default(),
        }
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub(super) fn wire(&self, settings: &WireSettings) -> HyperWire {
        HyperWire::with_resolver(settings, Box::new(self.clone())).expect("good settings")
    }
}

#[async_trait]
impl Resolver for FakeResolver {
    async fn resolve(&self, _name: &str, _port: u16) -> io::Result<Vec<SocketAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.answers
            .lock()
            .expect("answers")
            .pop_front()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Never answers.
pub(super) struct SilentResolver;

#[async_trait]
impl Resolver for SilentResolver {
    async fn resolve(&self, _name: &str, _port: u16) -> io::Result<Vec<SocketAddr>> {
        std::future::pending().await
    }
}
