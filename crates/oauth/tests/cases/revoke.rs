//! Revocation.

use http::Method;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};
use valetkey_oauth::{Profile, Revocation, TokenRequestError, read_revocation, revocation_request};

use crate::{answer, client, form, params, profile, url};

#[test]
fn rfc7009_section_2_1_example() {
    let endpoint = url("https://server.example.com/revoke");
    let token = "45ghiukldjahdnhzdauz".into();
    let request =
        revocation_request(&Profile::default(), &endpoint, &client(), &token, "refresh_token").expect("a request");
    assert_eq!((&request.method, &request.url), (&Method::POST, &endpoint));
    assert_eq!(
        request.headers[AUTHORIZATION],
        "Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3"
    );
    assert_eq!(
        form(&request),
        params(&[("token", "45ghiukldjahdnhzdauz"), ("token_type_hint", "refresh_token")])
    );
}

#[test]
fn providers_revoke_in_other_ways_too() {
    let github = profile(json!({"revoke": {"method": "DELETE", "style": "json", "token_param": "access_token"}}));
    let endpoint = url("https://api.github.com/applications/s6BhdRkqt3/grant");
    let request =
        revocation_request(&github, &endpoint, &client(), &"gho_1".into(), "access_token").expect("a request");
    assert_eq!(request.method, Method::DELETE);
    assert_eq!(
        serde_json::from_slice::<Value>(&request.body).expect("JSON"),
        json!({"access_token": "gho_1"})
    );
    assert!(request.headers.contains_key(AUTHORIZATION));

    let slack = profile(json!({"revoke": {"style": "bearer", "kills_grant": true}}));
    let endpoint = url("https://slack.com/api/auth.revoke");
    let request =
        revocation_request(&slack, &endpoint, &client(), &"xoxp-1".into(), "access_token").expect("a request");
    assert_eq!(request.headers[AUTHORIZATION], "Bearer xoxp-1");
    assert!(request.headers[AUTHORIZATION].is_sensitive() && request.body.is_empty());
    let split = revocation_request(&slack, &endpoint, &client(), &"x\r\ny".into(), "access_token").expect_err("splits");
    assert_eq!(split, TokenRequestError::Header("authorization".to_owned()));
}

#[test]
fn b72_the_answer_says_what_became_of_it() {
    let again = Revocation::Failed { retry: true };
    let never = Revocation::Failed { retry: false };
    let table = [
        (200, "", Revocation::Done),
        (200, "{}", Revocation::Done),
        (204, "", Revocation::Done),
        (200, r#"{"ok":true,"revoked":true}"#, Revocation::Done),
        (200, r#"{"ok":false,"error":"token_revoked"}"#, Revocation::Done),
        (200, r#"{"ok":false,"error":"missing_scope"}"#, never),
        (400, r#"{"error":"invalid_token"}"#, Revocation::Done),
        (400, r#"{"error":"unsupported_token_type"}"#, Revocation::Unsupported),
        (404, "", Revocation::Unsupported),
        (405, "", Revocation::Unsupported),
        (501, "", Revocation::Unsupported),
        (400, "", never),
        (401, r#"{"error":"invalid_client"}"#, never),
        (302, "", never),
        (429, "", again),
        (500, "<html>", again),
        (503, r#"{"error":"invalid_token"}"#, again),
        (999, "", again),
    ];
    for (status, body, expected) in table {
        assert_eq!(read_revocation(&answer(status, body)), expected, "{status} {body}");
    }
}
