//! Peers that take their time, or all of ours (cases B08 to B10).

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use valetkey_engine::wire::{Limits, Wire as _, WireError};

use super::{End, FakeServer, LONG, SHORT, api, get, local, post, token, wire};
use crate::wire::WireSettings;

#[tokio::test]
async fn b08_a_slow_body_ends_at_the_deadline() {
    let server = FakeServer::start(|mut peer| async move {
        peer.request().await;
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await;
        loop {
            peer.send("x").await;
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let wire = wire(&local());
    let start = Instant::now();
    assert_eq!(
        token(&wire, post(&server.url("/"), "x"), SHORT).await,
        End::Uncertain(WireError::Timeout)
    );
    let limits = Limits {
        timeout: SHORT,
        max_body: 2000,
    };
    let answer = wire.send_api(get(&server.url("/")), limits).await;
    assert_eq!(answer.map(|answer| answer.status), Err(WireError::Timeout));
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn b09_silence_after_the_request_is_uncertain_and_before_it_is_not_sent() {
    let server = FakeServer::start(|mut peer| async move { peer.hang().await }).await;
    let wire = wire(&WireSettings {
        connect_timeout: SHORT,
        ..local()
    });
    assert_eq!(
        token(&wire, post(&server.url("/"), "x"), SHORT).await,
        End::Uncertain(WireError::Timeout)
    );

    // The same server never answers a TLS handshake: the time for connecting, then the caller's own deadline.
    let https = server.url("/").replace("http", "https");
    assert_eq!(
        token(&wire, post(&https, "x"), LONG).await,
        End::NotSent(WireError::Connect)
    );
    assert_eq!(
        token(&wire, post(&https, "x"), SHORT / 4).await,
        End::NotSent(WireError::Timeout)
    );
}

#[tokio::test]
async fn b10_a_peer_that_never_pauses_cannot_hold_the_runtime() {
    let interim = format!("HTTP/1.1 103 Early Hints\r\nlink: {}\r\n\r\n", "x".repeat(4096));
    for piece in [interim, "HTTP/1.1 200 OK\r\n\r\n".to_owned()] {
        // A thread of its own: it must not depend on the runtime it tries to starve.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let peer = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let _ = stream.read(&mut [0; 1024]);
            let pieces = piece.repeat(1000);
            while stream.write_all(pieces.as_bytes()).is_ok() {}
        });
        let limits = Limits {
            timeout: SHORT,
            max_body: usize::MAX,
        };
        let start = Instant::now();
        let answer = wire(&local())
            .send_api(get(&format!("http://{address}/")), limits)
            .await;
        assert_eq!(answer.map(|answer| answer.status), Err(WireError::Timeout));
        assert!(start.elapsed() < Duration::from_secs(5));
        peer.join().expect("the peer to see the end");
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_closes_its_connection() {
    let closed = Arc::new(Notify::new());
    let notify = Arc::clone(&closed);
    let server = FakeServer::start(move |mut peer| {
        let notify = Arc::clone(&notify);
        async move {
            peer.request().await;
            peer.hang().await;
            notify.notify_one();
        }
    })
    .await;
    let wire = wire(&local());
    let call = api(&wire, get(&server.url("/")), 999);
    assert!(tokio::time::timeout(SHORT, call).await.is_err());
    closed.notified().await;
}
