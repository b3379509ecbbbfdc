//! The listener: connections with limits on heads and time, and a stop that lets requests under way finish. Each connection
//! is served by one of the workers.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
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

/// How long requests under way may take once a stop began: longer than a token endpoint may take to answer.
const DRAIN: Duration = Duration::from_secs(40);

/// Accepts connections until `stopping`, then waits for the requests under way.
pub(crate) async fn serve(
    listener: TcpListener,
    front: Arc<Front>,
    workers: &Workers,
    tasks: TaskTracker,
    stopping: CancellationToken,
) {
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopping.cancelled() => break,
        };
        let seated = accepted.and_then(|(stream, peer)| {
            stream.set_nodelay(true)?;
            let seat = workers.seat().ok_or(io::ErrorKind::NotConnected)?;
            Ok((stream.into_std()?, peer, seat))
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
        let runtime = seat.runtime.clone();
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
