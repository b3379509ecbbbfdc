//! Peers that break, or send too much or the wrong thing (cases B06, B07, B10, B52, B55).

use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use valetkey_engine::wire::WireError;

use super::{End, FakeServer, LONG, api, get, local, ok, post, token, wire};

const KIB: &str = "................................................................";

/// Sends a head, then a piece again and again until the client closes.
async fn endless(head: &'static str, piece: String) -> (FakeServer, Arc<Notify>) {
    let (piece, dropped) = (Arc::new(piece), Arc::new(Notify::new()));
    let notify = Arc::clone(&dropped);
    let server = FakeServer::start(move |mut peer| {
        let (piece, notify) = (Arc::clone(&piece), Arc::clone(&notify));
        async move {
            peer.request().await;
            peer.send(head).await;
            while peer.stream.write_all(piece.as_bytes()).await.is_ok() {}
            notify.notify_one();
        }
    })
    .await;
    (server, dropped)
}

#[tokio::test]
async fn b06_a_huge_body_is_cut_and_the_connection_dropped() {
    let chunk = format!("400\r\n{}\r\n", KIB.repeat(16));
    for (head, piece) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n",
            KIB.repeat(16),
        ),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", chunk),
        ("HTTP/1.1 200 OK\r\n\r\n", KIB.repeat(16)),
    ] {
        let (server, dropped) = endless(head, piece).await;
        let wire = wire(&local());
        assert_eq!(
            token(&wire, post(&server.url("/"), "x"), LONG).await,
            End::Uncertain(WireError::TooLarge)
        );
        dropped.notified().await;
        let cut = api(&wire, get(&server.url("/")), 5000).await;
        assert_eq!(cut.map(|answer| answer.status), Err(WireError::TooLarge));
        dropped.notified().await;
    }
}

#[tokio::test]
async fn a_body_may_have_exactly_the_allowed_size() {
    for framed in [
        "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsix666",
        "HTTP/1.1 200 OK\r\n\r\nsix666",
    ] {
        let server = FakeServer::closing(framed).await;
        assert!(api(&wire(&local()), get(&server.url("/")), 6).await.is_ok());
        let cut = api(&wire(&local()), get(&server.url("/")), 5).await;
        assert_eq!(cut.map(|answer| answer.status), Err(WireError::TooLarge));
    }
}

#[tokio::test]
async fn b07_codings_that_were_not_asked_for_are_refused() {
    for coding in ["gzip", "br", "zstd", "deflate", "gzip, gzip", "identity, gzip"] {
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ncontent-length: 2\r\n\r\n{{}}");
        let server = FakeServer::answering(answer).await;
        let wire = wire(&local());
        assert_eq!(
            token(&wire, post(&server.url("/"), "x"), LONG).await,
            End::Uncertain(WireError::TooLarge)
        );
        assert_eq!(
            api(&wire, get(&server.url("/")), 99).await.map(|a| a.status),
            Err(WireError::TooLarge)
        );
    }
    let server =
        FakeServer::answering("HTTP/1.1 200 OK\r\ncontent-encoding: Identity\r\ncontent-length: 2\r\n\r\n{}").await;
    assert!(api(&wire(&local()), get(&server.url("/")), 99).await.is_ok());
}

#[tokio::test]
async fn b10_heads_are_bounded_and_well_formed() {
    let many = format!(
        "HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n",
        "a: b\r\n".repeat(10_000)
    );
    let hundred = format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "a: b\r\n".repeat(100));
    let large = format!(
        "HTTP/1.1 200 OK\r\na: {}\r\ncontent-length: 0\r\n\r\n",
        KIB.repeat(16 * 1024)
    );
    for (head, error) in [
        (many.as_str(), WireError::TooLarge),
        (&hundred, WireError::TooLarge),
        (&large, WireError::TooLarge),
        (
            "HTTP/1.1 200 OK\r\na: b\r\n folded\r\ncontent-length: 0\r\n\r\n",
            WireError::Broken,
        ),
        (
            "HTTP/1.1 200 OK\r\na: \0\r\ncontent-length: 0\r\n\r\n",
            WireError::Broken,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
            WireError::Broken,
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nab", WireError::Broken),
        ("<html>no head at all</html>\r\n\r\n", WireError::Broken),
    ] {
        let server = FakeServer::closing(head).await;
        let end = token(&wire(&local()), post(&server.url("/"), "x"), LONG).await;
        assert_eq!(end, End::Uncertain(error), "{}", &head[..head.len().min(60)]);
    }
}

#[tokio::test]
async fn b52_a_refused_connection_sends_nothing() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        listener.local_addr().expect("an address")
    };
    let wire = wire(&local());
    let end = token(&wire, post(&format!("http://{address}/"), "x"), LONG).await;
    assert_eq!(end, End::NotSent(WireError::Connect));
    for (url, error) in [
        ("https://10.0.0.1/", WireError::AddressDenied),
        ("http://other.example/", WireError::Insecure),
        ("https://user@api.example/", WireError::Malformed),
    ] {
        assert_eq!(token(&wire, post(url, "x"), LONG).await, End::NotSent(error), "{url}");
    }
}

#[tokio::test]
async fn b55_a_truncated_answer_is_uncertain_even_if_it_parses() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"access_token\":\"a\"}",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n",
        "HTTP/1.1 200 OK\r\ncontent-le",
        "HTTP/1.1 200 OK\r\n",
        "",
    ] {
        let server = FakeServer::closing(answer).await;
        let wire = wire(&local());
        let end = token(&wire, post(&server.url("/"), "x"), LONG).await;
        assert_eq!(end, End::Uncertain(WireError::Broken), "{answer}");
        assert_eq!(server.requests().len(), 1, "sent once");
        assert_eq!(
            api(&wire, get(&server.url("/")), 999).await.map(|a| a.status),
            Err(WireError::Broken)
        );
    }
}

#[tokio::test]
async fn a_large_request_arrives_whole() {
    let server = FakeServer::answering(ok("")).await;
    let body = KIB.repeat(100_000);
    api(&wire(&local()), post(&server.url("/"), &body), 9)
        .await
        .expect("an answer");
    assert!(server.requests()[0].ends_with(&body));
}
