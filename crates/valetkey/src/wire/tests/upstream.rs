//! Origins that the operator sends elsewhere.

use valetkey_engine::wire::{Wire as _, WireError};

use super::{End, FakeServer, LONG, api, get, ok, post, strict, text, token, url, wire};
use crate::wire::WireSettings;

const MAX: usize = 1 << 20;

#[tokio::test]
async fn upstreams_take_what_is_for_another_origin() {
    let server = FakeServer::answering(ok("emulated")).await;
    let upstream = url(&server.url("/"));
    // Neither loopback nor http is allowed, except that the operator named this origin.
    let settings = WireSettings {
        allowed_hosts: vec!["slack.com".to_owned()],
        upstreams: vec![(url("https://slack.com"), upstream.clone())],
        ..strict()
    };
    let wire = wire(&settings);
    assert_eq!(wire.check(&url("https://slack.com/api")), Ok(()));
    let end = token(&wire, post("https://slack.com/api/oauth.v2.access?x=1", "code=c"), LONG).await;
    assert_eq!(end, End::Answered(200, "emulated".to_owned()));
    assert_eq!(
        text(
            &api(&wire, get("https://slack.com/api/users"), MAX)
                .await
                .expect("an answer")
        ),
        "emulated"
    );

    let seen = server.requests();
    assert!(seen[0].starts_with("POST /api/oauth.v2.access?x=1 HTTP/1.1\r\n"));
    assert!(
        seen[0].contains(&format!("host: {}\r\n", server.address)),
        "{}",
        seen[0]
    );

    // Only for that origin, and the origin's own host must be allowed.
    assert_eq!(wire.check(&url("http://slack.com/")), Err(WireError::Insecure));
    assert_eq!(
        wire.check(&url("https://api.slack.com/")),
        Err(WireError::HostNotAllowed)
    );
    assert_eq!(wire.check(&upstream), Err(WireError::HostNotAllowed));
}

#[tokio::test]
async fn a_connection_opened_for_an_upstream_serves_nobody_else() {
    let server = FakeServer::answering(ok("")).await;
    let upstream = url(&server.url("/"));
    let settings = WireSettings {
        allow_insecure_http: vec!["127.0.0.1".to_owned()],
        upstreams: vec![(url("https://slack.com"), upstream.clone())],
        ..strict()
    };
    let wire = wire(&settings);
    api(&wire, get("https://slack.com/"), MAX).await.expect("an answer");
    let direct = api(&wire, get(upstream.as_str()), MAX).await;
    assert_eq!(direct.map(|answer| answer.status), Err(WireError::AddressDenied));
}
