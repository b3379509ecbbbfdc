//! Connections that are used again, and those that must not be.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::sleep;
use valetkey_engine::wire::WireError;

use super::{End, FakeServer, LONG, api, get, local, ok, post, token, wire};
use crate::wire::WireSettings;

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
async fn what_may_be_asked_at_once_is_asked_again_without_a_new_connection() {
    const AT_ONCE: usize = 40;
    let together = Arc::new(Barrier::new(AT_ONCE));
    let answers = Arc::clone(&together);
    let server = FakeServer::start(move |mut peer| {
        let together = Arc::clone(&answers);
        async move {
            while peer.request().await.is_some() {
                together.wait().await;
                peer.send(ok("{}")).await;
            }
        }
    })
    .await;
    let server = Arc::new(server);
    let wire = Arc::new(wire(&WireSettings {
        token_connections: AT_ONCE,
        ..local()
    }));
    for _ in 0..3 {
        let mut calls = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (server, wire) = (Arc::clone(&server), Arc::clone(&wire));
            calls.spawn(async move { token(&wire, post(&server.url("/"), "x"), LONG).await });
        }
        for end in calls.join_all().await {
            assert_eq!(end, End::Answered(200, "{}".to_owned()));
        }
    }
    assert_eq!(server.connections(), AT_ONCE);
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
