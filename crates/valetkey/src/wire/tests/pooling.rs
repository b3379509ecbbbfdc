//! Connections that are used again, and those that must not be.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::ReadBufCursor;
use tokio::task::JoinSet;
use tokio::time::sleep;
use valetkey_engine::wire::WireError;

use super::{End, FakeServer, LONG, api, get, local, ok, post, token, url, wire};
use crate::wire::connection::Connection;
use crate::wire::target::Target;

const MAX: usize = 1 << 20;

#[tokio::test]
async fn sequential_calls_share_one_connection() {
    for answer in [
        ok("{}"),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n".to_owned(),
    ] {
        let server = FakeServer::answering(answer).await;
        let wire = wire(&local());
        for _ in 0..50 {
            assert_eq!(
                token(&wire, post(&server.url("/"), "x"), LONG).await,
                End::Answered(200, "{}".to_owned())
            );
        }
        assert_eq!((server.connections(), server.requests().len()), (1, 50));
        for _ in 0..50 {
            api(&wire, get(&server.url("/")), MAX).await.expect("an answer");
        }
        assert_eq!(
            (server.connections(), server.requests().len()),
            (2, 100),
            "token and API connections are apart"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_calls_open_as_many_connections_as_they_need() {
    let server = Arc::new(FakeServer::answering(ok("{}")).await);
    let wire = Arc::new(wire(&local()));
    let mut calls = JoinSet::new();
    for _ in 0..16 {
        let (server, wire) = (Arc::clone(&server), Arc::clone(&wire));
        calls.spawn(async move {
            for _ in 0..200 {
                api(&wire, get(&server.url("/")), MAX).await.expect("an answer");
            }
        });
    }
    while let Some(done) = calls.join_next().await {
        done.expect("no panic");
    }
    assert_eq!(server.requests().len(), 3200);
    assert!(server.connections() <= 16, "{}", server.connections());
}

/// The runtime has one thread, and that waits for the server's close without giving the runtime a chance to hear of it: only
/// the kernel knows.
#[tokio::test]
async fn a_connection_the_server_has_closed_is_never_spent_a_request_on() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (closed, is_closed) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let read = stream.read(&mut [0; 4096]).expect("a request");
            assert!(read > 0, "a connection without a request");
            stream.write_all(ok("{}").as_bytes()).expect("a client");
            drop(stream);
            if closed.send(()).is_err() {
                return;
            }
        }
    });
    let wire = wire(&local());
    for round in 0..200 {
        let end = token(&wire, post(&format!("http://{address}/"), "x"), LONG).await;
        assert_eq!(end, End::Answered(200, "{}".to_owned()), "round {round}");
        is_closed.recv().expect("the server");
    }
}

/// A stream that is silent for some reads and then ends.
struct Ending {
    reads_left: usize,
    written: Arc<AtomicBool>,
}

impl hyper::rt::Read for Ending {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, _: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let Some(left) = self.reads_left.checked_sub(1) else {
            return Poll::Ready(Ok(()));
        };
        self.reads_left = left;
        // Nothing will wake a reader of this stream; asking again at once must do.
        if self.written.load(Ordering::SeqCst) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl hyper::rt::Write for Ending {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.written.store(true, Ordering::SeqCst);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Wherever the close falls: a request of which nothing was written goes over a new connection, the first byte written makes
/// it uncertain.
#[tokio::test]
async fn a_request_moves_on_while_nothing_of_it_was_written() {
    let server = FakeServer::answering(ok("{}")).await;
    let live = TcpStream::connect(server.address).expect("a connection");
    live.set_nonblocking(true).expect("a mode");
    let target = Target::of(&url(&server.url("/"))).expect("a target");
    for reads_left in 0.. {
        let wire = wire(&local());
        let written = Arc::<AtomicBool>::default();
        let stream = Ending {
            reads_left,
            written: Arc::clone(&written),
        };
        let probe = live.try_clone().expect("a handle");
        wire.token.pool.put(
            target.clone(),
            Connection::open(stream, probe).await.expect("a connection"),
        );
        let end = token(&wire, post(&server.url("/"), "x"), LONG).await;
        if written.load(Ordering::SeqCst) {
            assert_eq!(end, End::Uncertain(WireError::Broken));
            // It ended before it was pooled, before it was taken, and after it was taken.
            assert!(reads_left >= 3, "{reads_left}");
            return;
        }
        assert_eq!(end, End::Answered(200, "{}".to_owned()), "{reads_left}");
    }
}

#[tokio::test]
async fn what_the_server_sends_unasked_ends_the_connection() {
    // At once behind the answer, and later: a second answer that nobody asked for must not meet the next request.
    for pause in [Duration::ZERO, Duration::from_millis(50)] {
        let server = FakeServer::start(move |mut peer| async move {
            while peer.request().await.is_some() {
                if pause.is_zero() {
                    peer.send(ok("right") + &ok("wrong")).await;
                } else {
                    peer.send(ok("right")).await;
                    sleep(pause).await;
                    peer.send(ok("wrong")).await;
                }
            }
        })
        .await;
        let wire = wire(&local());
        for _ in 0..5 {
            let end = token(&wire, post(&server.url("/"), "x"), LONG).await;
            assert_eq!(end, End::Answered(200, "right".to_owned()));
            sleep(pause * 2).await;
        }
        assert_eq!((server.connections(), server.requests().len()), (5, 5));
    }
}

#[tokio::test]
async fn an_answer_that_closes_is_not_kept() {
    let server = FakeServer::answering("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}").await;
    let wire = wire(&local());
    for _ in 0..3 {
        assert_eq!(
            token(&wire, post(&server.url("/"), "x"), LONG).await,
            End::Answered(200, "{}".to_owned())
        );
    }
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn a_switch_of_protocols_is_not_kept() {
    let server =
        FakeServer::answering("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n").await;
    let wire = wire(&local());
    for _ in 0..2 {
        let end = token(&wire, post(&server.url("/"), "x"), LONG).await;
        assert!(!matches!(end, End::Answered(200, _) | End::NotSent(_)), "{end:?}");
    }
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_server_that_closes_instead_of_answering_is_asked_once() {
    let server = FakeServer::start(|mut peer| async move {
        peer.request().await;
        peer.send(ok("{}")).await;
        peer.request().await;
    })
    .await;
    let wire = wire(&local());
    assert_eq!(
        token(&wire, post(&server.url("/"), "x"), LONG).await,
        End::Answered(200, "{}".to_owned())
    );
    assert_eq!(
        token(&wire, post(&server.url("/"), "x"), LONG).await,
        End::Uncertain(WireError::Broken)
    );
    assert_eq!((server.connections(), server.requests().len()), (1, 2));
}

#[tokio::test]
async fn idle_connections_grow_old_and_are_bounded() {
    let server = Arc::new(FakeServer::answering(ok("{}")).await);
    let wire = Arc::new(wire(&local()));
    let mut calls = JoinSet::new();
    for _ in 0..40 {
        let (server, wire) = (Arc::clone(&server), Arc::clone(&wire));
        calls.spawn(async move { token(&wire, post(&server.url("/"), "x"), LONG).await });
    }
    while calls.join_next().await.is_some() {}
    assert!(wire.token.pool.len() <= 16, "{}", wire.token.pool.len());

    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
    let before = server.connections();
    token(&wire, post(&server.url("/"), "x"), LONG).await;
    assert_eq!(server.connections(), before + 1, "none of the old ones was used");
    assert_eq!(wire.token.pool.len(), 1, "and they are gone");
}
