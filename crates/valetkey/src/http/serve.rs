//! The listener: connections with limits on heads and time, and a stop that lets requests under way finish. Each connection
//! is served by one of the workers.
//!
//! Clients that say nothing, read nothing or come in thousands must cost others nothing: a head and a body have their time,
//! an answer that nobody takes ends its connection, and half of the descriptors are kept for providers and the store. Who
//! comes when there is no room waits in the kernel's queue.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Front;
use super::front::{Peer, plain};
use crate::workers::Workers;

/// How long a client may take for the head of a request.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// How large the head of a request may be: a callback's query has up to 16 KiB.
const MAX_HEAD: usize = 64 * 1024;

/// How long a path with its query may be.
const MAX_TARGET: usize = 32 * 1024;

/// How long a client may leave an answer lying, in milliseconds.
const ANSWER_TIME: u32 = 20_000;

/// How many connections there may be at once, if there are descriptors for them.
const MAX_CONNECTIONS: usize = 16_384;

/// How long requests under way may take once a stop began: longer than a token endpoint may take to answer.
const DRAIN: Duration = Duration::from_secs(40);

/// Accepts connections until `stopping`, then waits for the requests under way. The process may have so many descriptors.
pub(crate) async fn serve(
    listener: TcpListener,
    descriptors: u64,
    front: Arc<Front>,
    workers: &Workers,
    tasks: TaskTracker,
    stopping: CancellationToken,
) {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(room(descriptors)));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &room) => accepted,
            () = stopping.cancelled() => break,
        };
        let seated = accepted.and_then(|(stream, peer, place)| {
            stream.set_nodelay(true)?;
            set_tcp_user_timeout(&stream, ANSWER_TIME)?;
            let seat = workers.seat().ok_or(io::ErrorKind::NotConnected)?;
            Ok((stream.into_std()?, peer, (seat, place)))
        });
        let (stream, peer, seat) = match seated {
            Ok(seated) => seated,
            Err(error) => {
                // Out of descriptors, most likely: wait for some to be given back instead of spinning.
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let connection = serve_connection(stream, peer.ip(), Arc::clone(&front), graceful.watcher());
        let runtime = seat.0.runtime.clone();
        let seated = async move {
            let _seat = seat;
            if let Err(error) = connection.await {
                tracing::debug!(error = %error, "a connection ended badly");
            }
        };
        tasks.spawn_on(seated, &runtime);
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way when the time to stop was over");
    }
}

/// How many connections there is room for.
fn room(descriptors: u64) -> usize {
    usize::try_from(descriptors / 2).map_or(MAX_CONNECTIONS, |half| half.clamp(1, MAX_CONNECTIONS))
}

/// The next connection, as soon as there is room for it.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, place))
}

/// Serves one connection on the runtime that polls this.
async fn serve_connection(
    stream: std::net::TcpStream,
    peer: IpAddr,
    front: Arc<Front>,
    watcher: Watcher,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::from_std(stream)?;
    let peer = Peer::new(peer);
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let (front, peer) = (Arc::clone(&front), peer.clone());
        async move {
            let target = request.uri().path_and_query();
            if target.is_none_or(|p| p.as_str().len() > MAX_TARGET) {
                return Ok::<_, Infallible>(plain(StatusCode::URI_TOO_LONG));
            }
            Ok(front.answer(request.map(Body::new), &peer).await)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    Ok(watcher.watch(connection).await?)
}
