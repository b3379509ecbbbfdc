//! Pushed authorization requests.

use std::time::Duration;

use http::header::AUTHORIZATION;
use serde_json::json;
use valetkey_core::ErrorCode;
use valetkey_oauth::{
    AuthorizationRequest, AuthorizeError, Client, ErrorClass, par_request, pushed_url, read_par_response,
};

use crate::{answer, answer_with, client, form, params, profile, query, url};

#[test]
fn a45_what_the_browser_would_carry_is_pushed() {
    let push = |method: &str, client: &Client| {
        let profile = profile(json!({"token": {"client_auth": method}}));
        let request = AuthorizationRequest {
            profile: &profile,
            endpoint: &url("https://as.example/authorize"),
            client_id: "s6BhdRkqt3",
            redirect_uri: "https://client.example/cb",
            state: "af0ifjsldkj",
            challenge: Some("K2-ltc83acc4h0c9w6ESC_rEMTJ3bww-uCHaoeK1t8U"),
            scopes: &["account".to_owned()],
            resource: Some("https://mcp.example/"),
            extra_params: &params(&[("prompt", "consent")]),
        };
        par_request(&request, &url("https://as.example/par"), client).expect("a request")
    };
    let basic = push("client_secret_basic", &client());
    assert!(basic.headers.contains_key(AUTHORIZATION));
    let mut expected = params(&[
        ("response_type", "code"),
        ("client_id", "s6BhdRkqt3"),
        ("redirect_uri", "https://client.example/cb"),
        ("state", "af0ifjsldkj"),
        ("scope", "account"),
        ("code_challenge", "K2-ltc83acc4h0c9w6ESC_rEMTJ3bww-uCHaoeK1t8U"),
        ("code_challenge_method", "S256"),
        ("resource", "https://mcp.example/"),
        ("prompt", "consent"),
    ]);
    assert_eq!(form(&basic), expected);
    let public = push(
        "client_secret_basic",
        &Client {
            secret: None,
            ..client()
        },
    );
    assert_eq!(
        (form(&public), public.headers.contains_key(AUTHORIZATION)),
        (expected.clone(), false)
    );
    expected.insert("client_secret".to_owned(), "7Fjfp0ZBr1KtDRbnfVdmIw".to_owned());
    assert_eq!(form(&push("client_secret_post", &client())), expected);
}

#[test]
fn a45_the_browser_carries_the_reference_only() {
    let reference = "urn:ietf:params:oauth:request_uri:6esc_11ACC5bwc014ltc14eY22c";
    let body = json!({"request_uri": reference, "expires_in": 60}).to_string();
    let (uri, life) = read_par_response(&answer(201, body)).expect("a reference");
    assert_eq!((uri.as_str(), life), (reference, Duration::from_mins(1)));
    let browser = pushed_url(&url("https://as.example/authorize?tenant=1"), "s6BhdRkqt3", &uri).expect("a URL");
    assert_eq!(
        query(&browser),
        params(&[("tenant", "1"), ("client_id", "s6BhdRkqt3"), ("request_uri", reference)])
    );
    let refused = pushed_url(&url("https://as.example/authorize?state=1"), "s6BhdRkqt3", &uri);
    assert_eq!(refused, Err(AuthorizeError::Reserved("state".to_owned())));
}

#[test]
fn a45_refusals_are_those_of_a_token_endpoint() {
    let table = [
        (
            answer(400, r#"{"error":"invalid_request"}"#),
            ErrorClass::Config,
            ErrorCode::ProviderConfigError,
        ),
        (
            answer(401, r#"{"error":"invalid_client"}"#),
            ErrorClass::Client,
            ErrorCode::ClientRejected,
        ),
        (answer(405, ""), ErrorClass::Config, ErrorCode::ProviderConfigError),
        (answer(413, ""), ErrorClass::Config, ErrorCode::ProviderConfigError),
        (answer(429, ""), ErrorClass::RateLimited, ErrorCode::ProviderUnavailable),
        (answer(503, ""), ErrorClass::Transient, ErrorCode::ProviderUnavailable),
        (answer(302, ""), ErrorClass::Transient, ErrorCode::ProviderRedirected),
        (
            answer(201, r#"{"error":"invalid_request"}"#),
            ErrorClass::Config,
            ErrorCode::ProviderConfigError,
        ),
        (
            answer_with(201, &[("content-type", "text/html")], "x"),
            ErrorClass::Transient,
            ErrorCode::ProviderBadResponse,
        ),
    ];
    for (response, class, code) in table {
        let error = read_par_response(&response).expect_err("refused");
        assert_eq!((error.class(), error.code()), (class, code), "{response:?}");
    }
    let bad = [
        json!({}),
        json!({"request_uri": "urn:x"}),
        json!({"request_uri": "", "expires_in": 60}),
        json!({"request_uri": "urn:x y", "expires_in": 60}),
        json!({"request_uri": "urn:x", "expires_in": 0}),
        json!({"request_uri": "urn:x", "expires_in": -1}),
        json!({"request_uri": 1, "expires_in": 60}),
        json!({"request_uri": "u".repeat(3000), "expires_in": 60}),
    ];
    for body in bad {
        assert!(read_par_response(&answer(201, body.to_string())).is_err(), "{body}");
    }
}
