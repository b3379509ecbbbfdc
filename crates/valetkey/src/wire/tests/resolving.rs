//! Names and the addresses behind them (cases E08 to E10, E38, E40).

use std::net::SocketAddr;

use tokio::net::TcpListener;
use valetkey_engine::wire::WireError;

use super::fake::SilentResolver;
use super::{End, FakeResolver, FakeServer, HyperWire, LONG, local, ok, post, token};

const PUBLIC: &str = "93.184.216.34:80";
const PRIVATE: &str = "10.0.0.1:80";

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn answered(body: &str) -> End {
    End::Answered(200, body.to_owned())
}

#[tokio::test]
async fn e09_a_name_is_resolved_once_for_each_connection_and_the_answer_is_the_one_connected_to() {
    let server = FakeServer::closing(ok("first")).await;
    let resolver = FakeResolver::new([vec![server.address], vec![at(PRIVATE)]]);
    let wire = resolver.wire(&local());

    assert_eq!(
        token(&wire, post("http://api.example/token", "x"), LONG).await,
        answered("first")
    );
    assert_eq!(resolver.asked(), 1);

    // The server has closed, so the second call needs a new connection; now the name leads inside.
    assert_eq!(
        token(&wire, post("http://api.example/token", "x"), LONG).await,
        End::NotSent(WireError::AddressDenied)
    );
    assert_eq!((resolver.asked(), server.connections()), (2, 1));
}

#[tokio::test]
async fn e09_a_kept_connection_asks_no_resolver() {
    let server = FakeServer::answering(ok("again")).await;
    let resolver = FakeResolver::new([vec![server.address], vec![at(PRIVATE)]]);
    let wire = resolver.wire(&local());
    for _ in 0..3 {
        assert_eq!(
            token(&wire, post("http://api.example/token", "x"), LONG).await,
            answered("again")
        );
    }
    assert_eq!((resolver.asked(), server.connections()), (1, 1));
}

#[tokio::test]
async fn e10_one_denied_address_spoils_the_name() {
    let server = FakeServer::answering(ok("")).await;
    let many = |bad: &str| {
        let mut answers = vec![server.address; 1000];
        answers.push(at(bad));
        answers
    };
    let resolver = FakeResolver::new([
        vec![server.address, at(PRIVATE)],
        vec![at(PRIVATE), server.address],
        vec![at("[::1]:80"), server.address],
        vec![at("169.254.169.254:80")],
        many("192.168.1.1:80"),
        vec![at(PUBLIC), at("[fd00::1]:80")],
    ]);
    let wire = resolver.wire(&local());
    for _ in 0..6 {
        let end = token(&wire, post("http://api.example/token", "x"), LONG).await;
        assert_eq!(end, End::NotSent(WireError::AddressDenied));
    }
    assert_eq!((resolver.asked(), server.connections()), (6, 0));
}

#[tokio::test]
async fn b52_a_name_that_does_not_resolve_sends_nothing() {
    let resolver = FakeResolver::new([Vec::new()]);
    let wire = resolver.wire(&local());
    for _ in 0..2 {
        let end = token(&wire, post("http://api.example/token", "x"), LONG).await;
        assert_eq!(end, End::NotSent(WireError::Resolve));
    }
}

#[tokio::test(start_paused = true)]
async fn e40_a_name_whose_servers_say_nothing_is_given_up_in_four_seconds() {
    let wire = HyperWire::with_resolver(&local(), Box::new(SilentResolver)).expect("good settings");
    let started = tokio::time::Instant::now();
    let end = token(&wire, post("http://api.example/token", "x"), LONG).await;
    assert_eq!(end, End::NotSent(WireError::Resolve));
    assert_eq!(started.elapsed(), std::time::Duration::from_secs(4));
}

#[tokio::test]
async fn e40_a_failure_is_not_remembered() {
    let server = FakeServer::answering(ok("well again")).await;
    let resolver = FakeResolver::new([Vec::new(), vec![server.address]]);
    let wire = resolver.wire(&local());
    let ask = || token(&wire, post("http://api.example/token", "x"), LONG);
    assert_eq!(ask().await, End::NotSent(WireError::Resolve));
    assert_eq!(ask().await, answered("well again"));
    assert_eq!(resolver.asked(), 2);
}

#[tokio::test]
async fn e40_of_a_name_with_thousands_of_addresses_all_are_checked_and_few_are_tried() {
    let server = FakeServer::closing(ok("the sixteenth")).await;
    let dead = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        listener.local_addr().expect("an address")
    };
    let many = |live: std::net::SocketAddr, place: usize| {
        let mut answers = vec![dead; 5000];
        answers[place] = live;
        answers
    };
    let wire = FakeResolver::new([
        many(server.address, 15),
        many(server.address, 16),
        many(at(PRIVATE), 4999),
    ])
    .wire(&local());
    let ask = || token(&wire, post("http://api.example/token", "x"), LONG);
    assert_eq!(ask().await, answered("the sixteenth"));
    assert_eq!(ask().await, End::NotSent(WireError::Connect));
    assert_eq!(ask().await, End::NotSent(WireError::AddressDenied));
}

#[tokio::test]
async fn a_dead_address_does_not_hide_a_live_one() {
    let server = FakeServer::answering(ok("alive")).await;
    let dead = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        listener.local_addr().expect("an address")
    };
    let wire = FakeResolver::new([vec![dead, dead, server.address]]).wire(&local());
    assert_eq!(
        token(&wire, post("http://api.example/token", "x"), LONG).await,
        answered("alive")
    );
}

#[tokio::test]
async fn localhost_is_never_asked_for() {
    let server = FakeServer::answering(ok("here")).await;
    let mut settings = local();
    settings.allow_insecure_http.push("app.localhost".to_owned());
    let resolver = FakeResolver::default();
    let wire = resolver.wire(&settings);
    let request = post(&format!("http://app.localhost:{}/", server.address.port()), "x");
    assert_eq!(token(&wire, request, LONG).await, answered("here"));
    assert_eq!(resolver.asked(), 0);
}
