//! A link to the server that can be cut in the middle of an answer.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// It listens on the loopback for as long as it lives.
pub(crate) struct Link {
    address: SocketAddr,
    deaf: Arc<AtomicBool>,
    _tasks: JoinSet<()>,
}

impl Link {
    /// Leads to the server on this port.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a listener");
        let address = listener.local_addr().expect("its address");
        let deaf = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, port, Arc::clone(&deaf)));
        Self {
            address,
            deaf,
            _tasks: tasks,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on the server gets what is sent, and the first bytes of its answer end the connection.
    pub(crate) fn lose_answers(&self, lose: bool) {
        self.deaf.store(lose, Ordering::SeqCst);
    }
}

async fn serve(listener: TcpListener, port: u16, deaf: Arc<AtomicBool>) {
    let mut pairs = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let deaf = Arc::clone(&deaf);
        pairs.spawn(async move {
            if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                join(client, server, &deaf).await;
            }
        });
    }
}

async fn join(client: TcpStream, server: TcpStream, deaf: &AtomicBool) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let there = tokio::io::copy(&mut from_client, &mut to_server);
    let back = async {
        let mut bytes = [0; 8_192];
        loop {
            match from_server.read(&mut bytes).await {
                Ok(count) if count > 0 && !deaf.load(Ordering::SeqCst) => {
                    if to_client.write_all(&bytes[..count]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            }
        }
    };
    tokio::select! {
        _ = there => {}
        () = back => {}
    }
}
