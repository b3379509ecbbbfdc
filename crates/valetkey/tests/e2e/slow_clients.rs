//! Clients that say nothing, read nothing or come in numbers: they lose their connections, and cost others nothing.

use std::io::ErrorKind;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

use crate::support::api::{Answer, Api, client};
use crate::support::stage::Stage;
use crate::support::valetkey::{Setup, Valetkey};

/// Longer than the server has patience with any client.
const GIVEN_UP: Duration = Duration::from_secs(60);

/// How often a slow client says something.
const DRIP: Duration = Duration::from_millis(500);

async fn connect(valetkey: &Valetkey) -> TcpStream {
    TcpStream::connect(("127.0.0.1", valetkey.setup.port()))
        .await
        .expect("a connection")
}

/// Sends the first bytes and the others again and again, until the server has enough; returns what it said.
async fn drip(mut stream: TcpStream, first: &str, again: &str) -> String {
    let dripping = async {
        let mut heard = Vec::new();
        let mut ticks = interval(DRIP);
        if stream.write_all(first.as_bytes()).await.is_err() {
            return heard;
        }
        loop {
            tokio::select! {
                read = stream.read_buf(&mut heard) => match read {
                    Ok(0) | Err(_) => return heard,
                    Ok(_) => {}
                },
                // What the server does not want any more is told by what it says.
                _ = ticks.tick() => drop(stream.write_all(again.as_bytes()).await),
            }
        }
    };
    let heard = timeout(GIVEN_UP, dripping).await.expect("an end of the connection");
    String::from_utf8_lossy(&heard).into_owned()
}

/// Asks again and again until all of these are over; each answer has to be a good one.
async fn served_meanwhile(valetkey: &Valetkey, mut slow: JoinSet<String>) -> Vec<String> {
    let mut said = Vec::new();
    while !slow.is_empty() {
        let answer = Answer::to(client().get(format!("{}/readyz", valetkey.base()))).await;
        assert_eq!(answer.status, 200);
        if let Ok(Some(ended)) = timeout(DRIP, slow.join_next()).await {
            said.push(ended.expect("no panic"));
        }
    }
    said
}

#[tokio::test]
async fn g56_a_head_that_does_not_come_ends_its_connection_and_others_are_served() {
    let valetkey = Setup::new().start().await;
    let mut slow = JoinSet::new();
    for number in 0..500 {
        let head = if number % 2 == 0 {
            ""
        } else {
            "GET /readyz HTTP/1.1\r\nhost: localhost\r\nx-slow:"
        };
        slow.spawn(drip(connect(&valetkey).await, head, "x"));
    }
    let said = served_meanwhile(&valetkey, slow).await;
    assert_eq!(said.len(), 500);
    assert!(said.iter().all(|said| !said.contains(" 200 ")), "{said:?}");
}

#[tokio::test]
async fn g56_a_body_that_does_not_come_ends_its_connection_and_others_are_served() {
    let valetkey = Setup::new().start().await;
    let mut slow = JoinSet::new();
    for _ in 0..100 {
        let head = "POST /api/session HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
            content-length: 1000\r\nkbn-xsrf: true\r\n\r\n{";
        slow.spawn(drip(connect(&valetkey).await, head, "x"));
    }
    for said in served_meanwhile(&valetkey, slow).await {
        assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
        assert!(said.contains("body_too_slow"), "{said}");
    }
}

#[tokio::test]
async fn g56_a_client_that_stopped_sending_costs_no_connection() {
    let valetkey = Setup::new().start().await;
    let mut closed = JoinSet::new();
    for said in ["", "GET /readyz HT", "GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n"] {
        let mut stream = connect(&valetkey).await;
        stream.write_all(said.as_bytes()).await.expect("a server");
        stream.shutdown().await.expect("an open connection");
        closed.spawn(async move {
            let mut heard = String::new();
            let reading = stream.read_to_string(&mut heard);
            timeout(GIVEN_UP, reading).await.expect("an end of the connection").ok();
            heard
        });
    }
    assert_eq!(served_meanwhile(&valetkey, closed).await.len(), 3);
}

#[tokio::test]
async fn g56_an_answer_that_nobody_takes_ends_its_connection() {
    let stage = Stage::new().await;
    let request = format!(
        "GET /api/openapi.json HTTP/1.1\r\nhost: localhost\r\nauthorization: ApiKey {}\r\n\r\n",
        stage.admin.key
    );
    let mut stream = connect(&stage.valetkey).await;
    // Far more answers than the sockets of both sides have room for.
    let asking = async {
        let mut ticks = interval(DRIP);
        loop {
            ticks.tick().await;
            if let Err(error) = stream.write_all(request.repeat(100).as_bytes()).await {
                return error;
            }
        }
    };
    let error = timeout(GIVEN_UP, asking).await.expect("an end of the connection");
    let kind = error.kind();
    assert!(
        matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset),
        "{error}"
    );
}

#[tokio::test]
async fn g58_connections_without_number_leave_descriptors_for_providers_and_do_not_spin() {
    let stage = Stage::per_user_with(Setup::new().with_256_descriptors()).await;
    stage.connect(&stage.user, "api").await;
    let called = async |api: &Api| {
        let body = json!({"params": {"subAction": "request", "subActionParams": {"path": "/api/whoami"}}});
        api.on("api", "_execute", body).await.expect(200)["status"].clone()
    };
    assert_eq!(called(&stage.user).await, "ok");
    let (began, computed) = (Instant::now(), stage.valetkey.computed());
    let mut silent = JoinSet::new();
    for _ in 0..300 {
        silent.spawn(drip(connect(&stage.valetkey).await, "", ""));
    }
    // On the connection that it had before.
    assert_eq!(called(&stage.user).await, "ok");
    assert_eq!(stage.user.renew("api").await.status, 200);
    let ended = silent.join_all().await;
    assert_eq!(ended.len(), 300);
    let computed = stage.valetkey.computed().saturating_sub(computed);
    assert!(computed < began.elapsed() / 4, "it computed for {computed:?}");
    assert_eq!(called(&stage.user).await, "ok");
    assert!(!stage.valetkey.output().contains("cannot be accepted"));
}
