//! Discovery.

use proptest::prelude::*;
use serde_json::{Value, json};
use valetkey_core::ErrorCode;
use valetkey_oauth::{DiscoveryError, MAX_BODY, Metadata, metadata_request, metadata_urls, read_metadata};

use crate::{answer, answer_with};

fn document(changes: &Value) -> Value {
    let mut document = json!({
        "issuer": "https://server.example.com",
        "authorization_endpoint": "https://server.example.com/authorize",
        "token_endpoint": "https://tokens.example.net/token",
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": ["openid", "profile"],
        "response_types_supported": ["code"]
    });
    if let (Some(document), Some(changes)) = (document.as_object_mut(), changes.as_object()) {
        document.extend(changes.clone());
    }
    document
}

fn read(changes: &Value) -> Result<Metadata, DiscoveryError> {
    read_metadata(
        "https://server.example.com",
        &answer(200, document(changes).to_string()),
    )
}

#[test]
fn rfc8414_section_3_where_metadata_is() {
    let urls = |issuer: &str| {
        metadata_urls(issuer)
            .expect("URLs")
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let root = [
        "https://example.com/.well-known/oauth-authorization-server",
        "https://example.com/.well-known/openid-configuration",
    ];
    assert_eq!(urls("https://example.com"), root);
    assert_eq!(urls("https://example.com/"), root);
    let tenant = [
        "https://example.com/.well-known/oauth-authorization-server/issuer1",
        "https://example.com/issuer1/.well-known/openid-configuration",
    ];
    assert_eq!(urls("https://example.com/issuer1"), tenant);
    assert_eq!(urls("https://example.com/issuer1/"), tenant);
    for bad in [
        "example.com",
        "https://example.com?x",
        "https://example.com#x",
        "ftp://example.com",
        "",
        "https://u@example.com",
    ] {
        assert_eq!(metadata_urls(bad), Err(DiscoveryError::Issuer), "{bad}");
    }
    let first = metadata_urls("https://example.com").expect("URLs").remove(0);
    let request = metadata_request(&first).expect("a request");
    assert_eq!(request.method, http::Method::GET);
    assert_eq!(request.headers["accept"], "application/json");
}

#[test]
fn metadata_is_read() {
    let metadata = read(&json!({
        "userinfo_endpoint": "https://server.example.com/me",
        "revocation_endpoint": "https://server.example.com/revoke",
        "pushed_authorization_request_endpoint": "https://server.example.com/par",
        "require_pushed_authorization_requests": true,
        "authorization_response_iss_parameter_supported": true,
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"],
        "scopes_supported": null
    }))
    .expect("metadata");
    assert_eq!(metadata.token_endpoint.as_str(), "https://tokens.example.net/token");
    assert_eq!(metadata.userinfo_endpoint.expect("an endpoint").path(), "/me");
    assert_eq!(metadata.revocation_endpoint.expect("an endpoint").path(), "/revoke");
    assert_eq!(
        metadata
            .pushed_authorization_request_endpoint
            .expect("an endpoint")
            .path(),
        "/par"
    );
    assert!(metadata.require_pushed_authorization_requests && metadata.authorization_response_iss_parameter_supported);
    assert_eq!(metadata.code_challenge_methods_supported.expect("methods"), ["S256"]);
    assert_eq!(
        metadata.token_endpoint_auth_methods_supported.expect("methods").len(),
        2
    );
    assert_eq!(metadata.scopes_supported, None);
    let plain = read(&json!({})).expect("metadata");
    assert!(!plain.require_pushed_authorization_requests && plain.revocation_endpoint.is_none());
}

#[test]
fn a48_a_lying_document_is_refused() {
    use DiscoveryError::{Insecure, IssuerMismatch, Member};
    for issuer in [
        json!("https://server.example.com/"),
        json!("https://SERVER.example.com"),
        json!("https://evil.example"),
        json!(null),
        json!(1),
    ] {
        let error = read(&json!({"issuer": issuer})).expect_err("another issuer");
        assert_eq!((error, error.code()), (IssuerMismatch, ErrorCode::IssuerMismatch));
    }
    let table = [
        (
            json!({"token_endpoint": "http://server.example.com/token"}),
            Insecure("token_endpoint"),
        ),
        (
            json!({"revocation_endpoint": "http://server.example.com/r"}),
            Insecure("revocation_endpoint"),
        ),
        (json!({"token_endpoint": null}), Member("token_endpoint")),
        (json!({"token_endpoint": 1}), Member("token_endpoint")),
        (
            json!({"authorization_endpoint": "javascript:alert(1)"}),
            Member("authorization_endpoint"),
        ),
        (
            json!({"authorization_endpoint": "https://u:p@server.example.com/"}),
            Member("authorization_endpoint"),
        ),
        (
            json!({"authorization_endpoint": "https://server.example.com/$(x)"}),
            Member("authorization_endpoint"),
        ),
        (
            json!({"pushed_authorization_request_endpoint": "/par"}),
            Member("pushed_authorization_request_endpoint"),
        ),
        (
            json!({"require_pushed_authorization_requests": "true"}),
            Member("require_pushed_authorization_requests"),
        ),
        (
            json!({"code_challenge_methods_supported": "S256"}),
            Member("code_challenge_methods_supported"),
        ),
        (json!({"scopes_supported": [1]}), Member("scopes_supported")),
        (json!({"scopes_supported": vec!["x"; 5000]}), Member("scopes_supported")),
    ];
    for (changes, expected) in table {
        let error = read(&changes).expect_err("a lie");
        assert_eq!(
            (error, error.code()),
            (expected, ErrorCode::DiscoveryFailed),
            "{changes}"
        );
    }
}

#[test]
fn a48_only_a_small_json_document_with_200_counts() {
    let issuer = "https://server.example.com";
    let good = document(&json!({})).to_string();
    for status in [404, 301, 204, 500] {
        assert_eq!(
            read_metadata(issuer, &answer(status, &good)),
            Err(DiscoveryError::Missing),
            "{status}"
        );
    }
    let malformed = [
        answer_with(200, &[("content-type", "text/html")], &good),
        answer_with(200, &[], &good),
        answer(200, "[]"),
        answer(200, good.replacen('{', r#"{"issuer":"https://server.example.com","#, 1)),
        answer(200, format!("{good}{}", " ".repeat(2 * MAX_BODY))),
    ];
    for response in malformed {
        assert_eq!(read_metadata(issuer, &response), Err(DiscoveryError::Malformed));
    }
}

#[test]
fn a_local_issuer_may_have_local_endpoints() {
    let local = json!({"issuer": "http://127.0.0.1:9000", "authorization_endpoint": "http://127.0.0.1:9000/a",
        "token_endpoint": "https://127.0.0.1:9001/t"});
    assert!(read_metadata("http://127.0.0.1:9000", &answer(200, local.to_string())).is_ok());
}

proptest! {
    #[test]
    fn any_document_and_any_issuer_is_read_without_panic(issuer in any::<String>(), body in any::<Vec<u8>>()) {
        prop_assert!(metadata_urls(&issuer).is_err() || metadata_urls(&issuer).is_ok_and(|urls| urls.len() == 2));
        prop_assert!(read_metadata("https://server.example.com", &answer(200, body)).is_err());
    }
}
