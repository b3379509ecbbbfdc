//! Connections that the peer closes while nobody looks.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::task::{Context, Poll};

use hyper::rt::ReadBufCursor;
use valetkey_engine::wire::WireError;

use super::{End, FakeServer, LONG, local, ok, post, token, url, wire};
use crate::wire::connection::Connection;
use crate::wire::target::Target;

/// The runtime has one thread, and that waits for the server's close without giving the runtime a chance to hear of it:
/// only the kernel knows.
#[tokio::test]
async fn a_connection_the_server_has_closed_is_never_spent_a_request_on() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (close, may_close) = channel();
    let (closed, is_closed) = channel();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let read = stream.read(&mut [0; 4096]).expect("a request");
            assert!(read > 0, "a connection without a request");
            stream.write_all(ok("{}").as_bytes()).expect("a client");
            if may_close.recv().is_err() {
                return;
            }
            drop(stream);
            closed.send(()).expect("a client");
        }
    });
    let wire = wire(&local());
    for round in 0..200 {
        let end = token(&wire, post(&format!("http://{address}/"), "x"), LONG).await;
        assert_eq!(end, End::Answered(200, "{}".to_owned()), "round {round}");
        close.send(()).expect("the server");
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

/// Wherever the close falls: a request of which nothing was written goes over a new connection, the first byte written
/// makes it uncertain.
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
