//! The token request.

use std::collections::BTreeMap;

use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};
use valetkey_core::{Request, Secret, encode};
use valetkey_oauth::{AuthorizeError, Client, Grant, Profile, TokenRequest, TokenRequestError};

use crate::{client, form, params, profile, url};

const REDIRECT: &str = "https://client.example/cb";

fn send(profile: &Profile, client: &Client, grant: Grant<'_>) -> Result<Request, TokenRequestError> {
    let scopes = ["read".to_owned(), "write".to_owned()];
    TokenRequest {
        profile,
        endpoint: &url("https://as.example/token?tenant=1"),
        client,
        grant,
        scopes: &scopes,
        resource: None,
        extra_params: &BTreeMap::new(),
    }
    .request()
}

fn with_code<T>(then: impl FnOnce(Grant<'_>) -> T) -> T {
    let (code, verifier) = (
        Secret::from("SplxlOBeZQQYbYS6WxSbIA"),
        Secret::from("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
    );
    then(Grant::AuthorizationCode {
        code: &code,
        redirect_uri: REDIRECT,
        verifier: Some(&verifier),
    })
}

fn basic(request: &Request) -> String {
    let value = request.headers[AUTHORIZATION].to_str().expect("ASCII");
    let decoded = encode::from_base64(value.strip_prefix("Basic ").expect("Basic")).expect("base64");
    String::from_utf8(decoded).expect("UTF-8")
}

#[test]
fn rfc6749_section_4_1_3_the_exchange() {
    let request = with_code(|grant| send(&Profile::default(), &client(), grant)).expect("a request");
    assert_eq!(request.method, http::Method::POST);
    assert_eq!(request.url.as_str(), "https://as.example/token?tenant=1");
    assert_eq!(request.headers[CONTENT_TYPE], "application/x-www-form-urlencoded");
    assert_eq!(request.headers[ACCEPT], "application/json");
    assert_eq!(request.headers[ACCEPT_ENCODING], "identity");
    // RFC 6749 section 2.3.1 prints this very header.
    assert_eq!(
        request.headers[AUTHORIZATION],
        "Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3"
    );
    assert!(request.headers[AUTHORIZATION].is_sensitive());
    let expected = params(&[
        ("grant_type", "authorization_code"),
        ("code", "SplxlOBeZQQYbYS6WxSbIA"),
        ("redirect_uri", REDIRECT),
        ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
    ]);
    assert_eq!(form(&request), expected);
}

#[test]
fn rfc6749_section_6_the_refresh() {
    let token = Secret::from("tGzv3JOkF0XG5Qx2TlKWIA");
    let request = send(&Profile::default(), &client(), Grant::RefreshToken(&token)).expect("a request");
    let expected = [
        ("grant_type", "refresh_token"),
        ("refresh_token", "tGzv3JOkF0XG5Qx2TlKWIA"),
    ];
    assert_eq!(form(&request), params(&expected));
    let repeats = profile(json!({"token": {"send_scope_at_refresh": true}}));
    let request = send(&repeats, &client(), Grant::RefreshToken(&token)).expect("a request");
    assert_eq!(form(&request)["scope"], "read write");
}

#[test]
fn rfc6749_section_4_4_2_client_credentials() {
    let request = send(&Profile::default(), &client(), Grant::ClientCredentials).expect("a request");
    assert_eq!(
        form(&request),
        params(&[("grant_type", "client_credentials"), ("scope", "read write")])
    );
    for secret in [None, Some("".into())] {
        let public = Client {
            id: "id".to_owned(),
            secret,
        };
        let error = send(&Profile::default(), &public, Grant::ClientCredentials).expect_err("no secret");
        assert_eq!(error, TokenRequestError::SecretMissing);
    }
}

#[test]
fn b63_basic_credentials_are_form_encoded_first() {
    let odd = Client {
        id: "a:b".to_owned(),
        secret: Some("p%+/ \u{e9}~".into()),
    };
    let request = with_code(|grant| send(&Profile::default(), &odd, grant)).expect("a request");
    assert_eq!(basic(&request), "a%3Ab:p%25%2B%2F+%C3%A9~");

    let raw = profile(json!({"token": {"basic_raw": true}}));
    assert_eq!(
        with_code(|grant| send(&raw, &odd, grant)).expect_err("a colon"),
        TokenRequestError::ClientId
    );
    let plain = Client {
        id: "ab".to_owned(),
        ..odd
    };
    assert_eq!(
        basic(&with_code(|grant| send(&raw, &plain, grant)).expect("a request")),
        "ab:p%+/ \u{e9}~"
    );

    let stripe = profile(json!({"token": {"client_auth": "secret_as_user"}}));
    assert_eq!(
        basic(&with_code(|grant| send(&stripe, &client(), grant)).expect("a request")),
        "7Fjfp0ZBr1KtDRbnfVdmIw:"
    );
}

#[test]
fn b64_exactly_one_client_authentication_and_nothing_secret_in_the_url() {
    let public = Client {
        id: "s6BhdRkqt3".to_owned(),
        secret: None,
    };
    // Whether the request has the header, and which members of its body name the client.
    let table: [(&str, Client, bool, &[&str]); 6] = [
        ("client_secret_basic", client(), true, &[]),
        ("client_secret_post", client(), false, &["client_id", "client_secret"]),
        ("secret_as_user", client(), true, &[]),
        ("none", client(), false, &["client_id"]),
        ("client_secret_basic", public.clone(), false, &["client_id"]),
        ("client_secret_post", public, false, &["client_id"]),
    ];
    for (method, client, header, members) in table {
        let profile = profile(json!({"token": {"client_auth": method}}));
        let request = with_code(|grant| send(&profile, &client, grant)).expect("a request");
        assert_eq!(request.headers.contains_key(AUTHORIZATION), header, "{method}");
        let sent = form(&request);
        let named: Vec<_> = sent.keys().filter(|name| name.starts_with("client_")).collect();
        assert_eq!(named, members, "{method}");
        assert_eq!(request.url.query(), Some("tenant=1"));
    }
}

#[test]
fn b64_an_endpoint_with_a_secret_in_its_query_is_refused() {
    for name in ["client_secret", "CLIENT_ID", "code", "refresh_token", "grant_type"] {
        let endpoint = url(&format!("https://as.example/token?{name}=x"));
        let token = Secret::from("r");
        let request = TokenRequest {
            profile: &Profile::default(),
            endpoint: &endpoint,
            client: &client(),
            grant: Grant::RefreshToken(&token),
            scopes: &[],
            resource: None,
            extra_params: &BTreeMap::new(),
        };
        let error = request.request().expect_err(name);
        assert_eq!(error, AuthorizeError::Reserved(name.to_lowercase()).into());
    }
}

#[test]
fn extra_parameters_are_added_and_never_override() {
    let shopify = profile(json!({"token": {"extra_params": {"expiring": "1", "audience": "spec"}}}));
    let token = Secret::from("r");
    let request = |extra: &[(&str, &str)]| {
        TokenRequest {
            profile: &shopify,
            endpoint: &url("https://as.example/token"),
            client: &client(),
            grant: Grant::RefreshToken(&token),
            scopes: &[],
            resource: Some("https://mcp.example/"),
            extra_params: &params(extra),
        }
        .request()
    };
    let sent = form(&request(&[("audience", "connector")]).expect("a request"));
    assert_eq!(
        (sent["expiring"].as_str(), sent["audience"].as_str()),
        ("1", "connector")
    );
    assert_eq!(
        sent["resource"], "https://mcp.example/",
        "a44: the same resource in every request"
    );
    for name in [
        "refresh_token",
        "Grant_Type",
        "client_secret",
        "client_assertion",
        "code%5fverifier",
        "scope",
    ] {
        let error = request(&[(name, "x")]).expect_err(name);
        assert!(
            matches!(error, TokenRequestError::Parameter(AuthorizeError::Reserved(_))),
            "{name}"
        );
    }
}

#[test]
fn a_provider_may_want_json_and_headers_of_its_own() {
    let notion = profile(json!({"token": {"body": "json", "extra_headers": {"Notion-Version": "2022-06-28"}}}));
    let request = with_code(|grant| send(&notion, &client(), grant)).expect("a request");
    assert_eq!(request.headers[CONTENT_TYPE], "application/json");
    assert_eq!(request.headers["notion-version"], "2022-06-28");
    assert!(request.headers.contains_key(AUTHORIZATION));
    let body: Value = serde_json::from_slice(&request.body).expect("JSON");
    assert_eq!(body["code"], "SplxlOBeZQQYbYS6WxSbIA");
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(4));
}

#[test]
fn headers_that_frame_or_authenticate_the_request_are_ours() {
    let bad = [
        ("Authorization", "x"),
        ("host", "evil"),
        ("Content-Length", "1"),
        ("cookie", "a=b"),
        ("a b", "x"),
        ("x", "a\r\nb"),
    ];
    for (name, value) in bad {
        let profile: Profile =
            serde_json::from_value(json!({"token": {"extra_headers": {name: value}}})).expect("read");
        assert_eq!(profile.check().expect_err(name).field(), "token.extra_headers");
        let error = with_code(|grant| send(&profile, &client(), grant)).expect_err(name);
        assert_eq!(error, TokenRequestError::Header(name.to_owned()));
    }
}

#[test]
fn the_profile_decides_about_pkce_and_redirect_uri() {
    let code = Secret::from("c");
    let bare = Grant::AuthorizationCode {
        code: &code,
        redirect_uri: REDIRECT,
        verifier: None,
    };
    assert_eq!(
        send(&Profile::default(), &client(), bare).expect_err("no verifier"),
        TokenRequestError::VerifierMissing
    );
    let jobber = profile(json!({
        "authorize": {"pkce": false, "pkce_off_reason": "ignored"}, "token": {"send_redirect_uri": false}
    }));
    let request = with_code(|grant| send(&jobber, &client(), grant)).expect("a request");
    assert_eq!(
        form(&request),
        params(&[("grant_type", "authorization_code"), ("code", "SplxlOBeZQQYbYS6WxSbIA")])
    );
}

#[test]
fn debug_and_errors_show_no_secret() {
    let client = Client {
        id: "id".to_owned(),
        secret: Some("CANARY1".into()),
    };
    let token = Secret::from("CANARY2");
    let grant = Grant::RefreshToken(&token);
    let request = send(&Profile::default(), &client, grant).expect("a request");
    assert!(!format!("{client:?} {grant:?} {request:?} {:?}", request.headers).contains("CANARY"));
}
