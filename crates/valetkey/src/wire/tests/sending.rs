//! What goes out and what comes back when nothing breaks (cases E12, E15, E19, E20, E35).

use std::process::Command;

use http::{HeaderName, HeaderValue, Method};
use valetkey_engine::wire::WireError;

use super::{End, FakeServer, LONG, api, get, local, ok, post, text, token, wire};

const MAX: usize = 1 << 20;

#[tokio::test]
async fn a_request_arrives_as_given_with_host_and_length() {
    let server = FakeServer::answering(ok("{}")).await;
    let wire = wire(&local());
    let mut request = post(&server.url("/oauth/token?a=b%20c&d=|[]^{}"), "grant_type=refresh_token");
    request.headers.insert("x-one", HeaderValue::from_static("1"));
    assert_eq!(token(&wire, request, LONG).await, End::Answered(200, "{}".to_owned()));

    let seen = server.requests().remove(0);
    let (head, body) = seen.split_once("\r\n\r\n").expect("a head");
    let mut lines: Vec<&str> = head.lines().collect();
    assert_eq!(lines.remove(0), "POST /oauth/token?a=b%20c&d=|[]^{} HTTP/1.1");
    lines.sort_unstable();
    let host = format!("host: {}", server.address);
    let agent = concat!("user-agent: valetkey/", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        lines,
        [
            "accept-encoding: identity",
            "content-length: 24",
            &host,
            agent,
            "x-one: 1"
        ]
    );
    assert_eq!(body, "grant_type=refresh_token");
}

#[tokio::test]
async fn e19_headers_of_the_connection_are_ours() {
    let server = FakeServer::answering(ok("")).await;
    let wire = wire(&local());
    let mut request = get(&server.url("/"));
    for (name, value) in [
        ("connection", "authorization, x-api-key"),
        ("keep-alive", "1"),
        ("proxy-authorization", "Basic eA=="),
        ("proxy-connection", "close"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("host", "evil.example"),
        ("content-length", "5"),
        ("expect", "100-continue"),
        ("authorization", "Bearer a"),
        ("x-api-key", "k"),
        ("user-agent", "mine/1"),
        ("accept-encoding", "gzip"),
    ] {
        request
            .headers
            .append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    api(&wire, request, MAX).await.expect("an answer");

    let seen = server.requests().remove(0);
    let mut names: Vec<&str> = seen
        .lines()
        .skip(1)
        .filter_map(|line| Some(line.split_once(": ")?.0))
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["accept-encoding", "authorization", "host", "user-agent", "x-api-key"]
    );
    assert!(seen.contains(&format!("host: {}", server.address)) && seen.contains("user-agent: mine/1"));
}

#[tokio::test]
async fn e12_methods_are_from_a_list() {
    let server = FakeServer::answering(ok("")).await;
    let wire = wire(&local());
    for method in ["CONNECT", "TRACE", "get", "FOO"] {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = get(&server.url("/"));
        request.method = method;
        assert_eq!(token(&wire, request, LONG).await, End::NotSent(WireError::Malformed));
    }
    assert_eq!(server.connections(), 0);
    for method in [Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
        let mut request = get(&server.url("/"));
        request.method = method;
        api(&wire, request, MAX).await.expect("an answer");
    }
}

#[tokio::test]
async fn a_post_without_a_body_says_so() {
    let server = FakeServer::answering(ok("")).await;
    api(&wire(&local()), post(&server.url("/"), ""), MAX)
        .await
        .expect("an answer");
    assert!(server.requests()[0].contains("content-length: 0"));
}

#[tokio::test]
async fn e15_redirects_are_answers() {
    let target = FakeServer::answering(ok("")).await;
    for status in [301, 302, 303, 307, 308] {
        let location = target.url("/elsewhere");
        let answer = format!("HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        let server = FakeServer::answering(answer).await;
        let wire = wire(&local());
        assert_eq!(
            token(&wire, post(&server.url("/"), "client_secret=x"), LONG).await,
            End::Answered(status, String::new())
        );
        let answer = api(&wire, get(&server.url("/")), MAX).await.expect("an answer");
        assert_eq!(
            (answer.status, answer.header("location")),
            (status, Some(location.as_str()))
        );
    }
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn bodies_come_whole_however_they_are_framed() {
    let chunked =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\ntrailer: t\r\n\r\n";
    let until_close = "HTTP/1.1 200 OK\r\n\r\nabcde";
    let counted = ok("abcde");
    for answer in [chunked, until_close, &counted] {
        let server = FakeServer::closing(answer).await;
        assert_eq!(
            text(&api(&wire(&local()), get(&server.url("/")), 5).await.expect("an answer")),
            "abcde"
        );
    }
    let large = "x".repeat(900_000);
    let server = FakeServer::answering(ok(&large)).await;
    assert_eq!(
        text(
            &api(&wire(&local()), get(&server.url("/")), MAX)
                .await
                .expect("an answer")
        ),
        large
    );
}

#[tokio::test]
async fn answers_without_a_body_end_at_their_head() {
    for (method, head) in [
        (
            Method::HEAD,
            "HTTP/1.1 200 OK\r\ncontent-length: 9999999\r\ncontent-encoding: gzip\r\n\r\n",
        ),
        (Method::GET, "HTTP/1.1 204 No Content\r\n\r\n"),
        (Method::GET, "HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\n\r\n"),
        (
            Method::GET,
            "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        ),
    ] {
        let server = FakeServer::answering(head).await;
        let wire = wire(&local());
        for _ in 0..2 {
            let mut request = get(&server.url("/"));
            request.method = method.clone();
            assert!(api(&wire, request, 10).await.expect("an answer").body.is_empty());
        }
        assert_eq!(server.connections(), 1, "{head}");
    }
}

#[test]
fn e35_proxies_of_the_environment_are_ignored() {
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    proxy.set_nonblocking(true).expect("a mode");
    let address = format!("http://{}", proxy.local_addr().expect("an address"));
    // The environment of a running process cannot be changed safely, so another test runs in a process of its own.
    let (_, here) = module_path!().split_once("::").expect("a path");
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.args(["--exact", &format!("{here}::e15_redirects_are_answers")]);
    for name in [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
    ] {
        child.env(name, &address);
    }
    let output = child
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .output()
        .expect("a run");
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && report.contains("1 passed"), "{report}");
    assert_eq!(
        proxy.accept().expect_err("no connection").kind(),
        std::io::ErrorKind::WouldBlock
    );
}
