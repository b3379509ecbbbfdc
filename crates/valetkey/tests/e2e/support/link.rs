//! A way to a server that can be led elsewhere, cut, and made to lose what comes back.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What becomes of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// They arrive.
    Open,
    /// Connections are ended, and new ones are ended as soon as they are made: nobody is there.
    Cut,
    /// A `PostgreSQL` server does what it is told, and the connection ends before it says so.
    Deaf,
    /// A `PostgreSQL` server is heard so many times on each connection, and once more the connection ends instead.
    Answers(usize),
    /// Nothing arrives, and nobody is told: a network that swallows packets.
    Silent,
}

#[derive(Clone, Copy)]
struct State {
    way: Way,
    to: SocketAddr,
}

/// It listens on the loopback for as long as it lives.
pub(crate) struct Link {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    _tasks: JoinSet<()>,
}

impl Link {
    /// Leads to this port of the loopback.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a listener");
        let address = listener.local_addr().expect("its address");
        let (state, _) = watch::channel(State {
            way: Way::Open,
            to: (Ipv4Addr::LOCALHOST, port).into(),
        });
        let state = Arc::new(state);
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, Arc::clone(&state)));
        Self {
            address,
            state,
            _tasks: tasks,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Where it listens, for clients of HTTP.
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn set(&self, way: Way) {
        self.state.send_modify(|state| state.way = way);
    }

    /// Leads new connections to another port.
    pub(crate) fn lead_to(&self, port: u16) {
        self.state.send_modify(|state| state.to.set_port(port));
    }
}

async fn serve(listener: TcpListener, state: Arc<watch::Sender<State>>) {
    let mut pairs = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let State { way, to } = *state.borrow();
        if way == Way::Cut {
            continue;
        }
        let (mut look, state) = (state.subscribe(), Arc::clone(&state));
        pairs.spawn(async move {
            let Ok(server) = TcpStream::connect(to).await else {
                return;
            };
            tokio::select! {
                () = join(client, server, &state) => {}
                _ = look.wait_for(|state| state.way == Way::Cut) => {}
            }
        });
        while pairs.try_join_next().is_some() {}
    }
}

/// Carries bytes both ways until one side has enough.
async fn join(client: TcpStream, server: TcpStream, state: &watch::Sender<State>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let there = async {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
            unless_silent(state).await;
            if to_server.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    };
    let back = async {
        let (mut bytes, mut heard) = (vec![0; 64 * 1024], Heard::default());
        while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
            unless_silent(state).await;
            let is_over = match state.borrow().way {
                Way::Deaf => heard.done(&bytes[..count]),
                Way::Answers(most) => {
                    heard.done(&bytes[..count]);
                    heard.answers > most
                }
                Way::Open | Way::Silent | Way::Cut => false,
            };
            if is_over || to_client.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}

async fn unless_silent(state: &watch::Sender<State>) {
    // The sender lives as long as this.
    drop(state.subscribe().wait_for(|state| state.way != Way::Silent).await);
}

/// What a `PostgreSQL` server says, message by message: a letter, four bytes of length that count themselves, and the rest.
#[derive(Default)]
struct Heard {
    /// What was heard of a message that is not complete.
    begun: Vec<u8>,
    /// How often it was ready for another command.
    answers: usize,
    /// Whether a command was completed since the server was last ready for another one.
    is_completed: bool,
}

impl Heard {
    /// Whether these bytes say that something was done for good: a command is complete, and no transaction is open.
    fn done(&mut self, bytes: &[u8]) -> bool {
        self.begun.extend_from_slice(bytes);
        let mut is_done = false;
        while let Some((&[letter, a, b, c, d], _)) = self.begun.split_first_chunk() {
            let length = 1 + u32::from_be_bytes([a, b, c, d]) as usize;
            let Some(message) = self.begun.get(..length) else { break };
            match letter {
                b'C' => self.is_completed = true,
                b'Z' => {
                    self.answers += 1;
                    is_done |= self.is_completed && message.last() == Some(&b'I');
                    self.is_completed = false;
                }
                _ => {}
            }
            self.begun.drain(..length);
        }
        is_done
    }
}
