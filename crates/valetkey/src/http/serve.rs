//! The listener: connections with limits on heads and time, and a stop that lets requests under way finish.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Front;
use super::front::plain;

/// How long a client may take for the head of a request.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// How large the head of a request may be: a callback's query has up to 16 KiB.
const MAX_HEAD: usize = 64 * 1024;

/// How long requests under way may take once a stop began: longer than a token endpoint may take to answer.
const DRAIN: Duration = Duration::from_secs(40);

/// Accepts connections until `stopping`, then waits for the requests under way.
pub(crate) async fn serve(listener: TcpListener, front: Arc<Front>, tasks: TaskTracker, stopping: CancellationToken) {
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopping.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: wait for some to be given back instead of spinning.
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        let front = Arc::clone(&front);
        let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let front = Arc::clone(&front);
            async move {
                if request
                    .uri()
                    .path_and_query()
                    .is_none_or(|p| p.as_str().len() > 32 * 1024)
                {
                    return Ok::<_, std::convert::Infallible>(plain(StatusCode::URI_TOO_LONG));
                }
                Ok(front.answer(request.map(Body::new), peer).await)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tasks.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended badly");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way when the time to stop was over");
    }
}
