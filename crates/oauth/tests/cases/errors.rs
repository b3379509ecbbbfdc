//! Errors of the token endpoint.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use valetkey_core::ErrorCode;
use valetkey_oauth::ErrorClass::{Client, Config, RateLimited, Terminal, Transient};
use valetkey_oauth::{ErrorClass, Profile, TokenError, read_token_response};

use crate::{answer, answer_with, profile};

fn error(profile: &Profile, status: u16, body: &Value) -> TokenError {
    read_token_response(profile, &answer(status, body.to_string())).expect_err("an error")
}

fn plain(status: u16, body: &Value) -> (ErrorClass, ErrorCode) {
    let error = error(&Profile::default(), status, body);
    (error.class(), error.code())
}

#[test]
fn b11_b12_redirects_are_never_followed_and_never_end_a_grant() {
    for status in [300, 301, 302, 303, 304, 307, 308, 399] {
        let answered = plain(status, &json!({"error": "invalid_grant"}));
        assert_eq!(answered, (Transient, ErrorCode::ProviderRedirected), "{status}");
    }
}

#[test]
fn b13_an_error_in_a_200_is_an_error() {
    let github = profile(json!({"errors": {"map": {"bad_verification_code": "terminal"}}}));
    let expired = error(
        &github,
        200,
        &json!({"error": "bad_verification_code", "error_description": "expired"}),
    );
    assert_eq!((expired.class(), expired.code()), (Terminal, ErrorCode::CodeRejected));
    assert_eq!(
        (expired.provider_error(), expired.description()),
        (Some("bad_verification_code"), Some("expired"))
    );
    assert_eq!(
        plain(200, &json!({"error": "invalid_grant"})),
        (Terminal, ErrorCode::CodeRejected)
    );
    assert_eq!(
        plain(200, &json!({"error": "what"})),
        (Transient, ErrorCode::ProviderBadResponse)
    );
    assert_eq!(
        plain(200, &json!({"error": {"code": 1}})),
        (Transient, ErrorCode::ProviderBadResponse)
    );
    // With both, neither is believed.
    for word in ["invalid_grant", "what"] {
        let both = json!({"error": word, "access_token": "a", "token_type": "bearer"});
        assert_eq!(plain(200, &both), (Transient, ErrorCode::ProviderBadResponse));
    }
    for none in [json!(null), json!(""), json!(false)] {
        let fine = json!({"error": none, "access_token": "a"}).to_string();
        assert!(read_token_response(&Profile::default(), &answer(200, fine)).is_ok());
    }
}

#[test]
fn b14_a_vendors_way_of_saying_no_is_data() {
    let slack = profile(json!({
        "response": {"success": {"path": "ok", "equals": true}},
        "errors": {"map": {"invalid_refresh_token": "terminal", "ratelimited": "rate_limited", "bad_client_secret": "client"}}
    }));
    let said = |word: &str| error(&slack, 200, &json!({"ok": false, "error": word})).class();
    assert_eq!(said("invalid_refresh_token"), Terminal);
    assert_eq!(said("ratelimited"), RateLimited);
    assert_eq!(said("bad_client_secret"), Client);
    assert_eq!(said("fatal_error"), Transient);
    // No success without the predicate, and none that contradicts itself.
    for odd in [
        json!({"access_token": "a"}),
        json!({"ok": 1, "access_token": "a"}),
        json!({"ok": "true", "access_token": "a"}),
        json!({"ok": true, "error": "invalid_refresh_token", "access_token": "a"}),
        json!({"ok": false}),
    ] {
        assert_eq!(error(&slack, 200, &odd).class(), Transient, "{odd}");
    }
}

#[test]
fn codes_may_be_nested_and_numbers() {
    let meta =
        profile(json!({"errors": {"code": "error.code", "description": "error.message", "map": {"190": "terminal"}}}));
    let expired = error(
        &meta,
        400,
        &json!({"error": {"code": 190, "message": "Error validating access token"}}),
    );
    assert_eq!((expired.class(), expired.provider_error()), (Terminal, Some("190")));
    assert_eq!(expired.description(), Some("Error validating access token"));
    let standard = error(&meta, 400, &json!({"error": "invalid_grant"}));
    assert_eq!(
        standard.class(),
        Terminal,
        "the standard place is read where the other one is empty"
    );
    let named = profile(json!({"errors": {"code": "fault"}}));
    let null = error(&named, 400, &json!({"fault": null, "error": "invalid_grant"}));
    assert_eq!(null.class(), Terminal, "null says nothing");
    let tiktok = profile(
        json!({"response": {"success": {"path": "code", "equals": 0}, "access_token": "data.access_token"},
        "errors": {"code": "code", "description": "message", "map": {"40105": "terminal"}}}),
    );
    assert_eq!(
        error(&tiktok, 200, &json!({"code": 40105, "message": "dead", "data": {}})).class(),
        Terminal
    );
    let good = json!({"code": 0, "message": "OK", "data": {"access_token": "a"}}).to_string();
    assert!(read_token_response(&tiktok, &answer(200, good)).is_ok());
}

#[test]
fn b43_to_b47_the_standard_codes() {
    let table = [
        ("invalid_grant", Terminal, ErrorCode::CodeRejected),
        ("invalid_client", Client, ErrorCode::ClientRejected),
        ("unauthorized_client", Config, ErrorCode::ProviderConfigError),
        ("invalid_scope", Config, ErrorCode::ProviderConfigError),
        ("invalid_request", Config, ErrorCode::ProviderConfigError),
        ("unsupported_grant_type", Config, ErrorCode::ProviderConfigError),
        ("invalid_target", Config, ErrorCode::ProviderConfigError),
        ("temporarily_unavailable", Transient, ErrorCode::ProviderUnavailable),
        ("server_error", Transient, ErrorCode::ProviderUnavailable),
        ("slow_down", RateLimited, ErrorCode::ProviderUnavailable),
        ("INVALID_GRANT", Transient, ErrorCode::ProviderBadResponse),
        ("invalid_grant ", Transient, ErrorCode::ProviderBadResponse),
    ];
    for (word, class, code) in table {
        assert_eq!(plain(400, &json!({"error": word})), (class, code), "{word}");
    }
    assert_eq!(
        plain(401, &json!({"error": "invalid_grant"})).0,
        Terminal,
        "some say it with a 401"
    );
    for status in [429, 500, 502, 503, 504] {
        let class = if status == 429 { RateLimited } else { Transient };
        assert_eq!(
            plain(status, &json!({"error": "invalid_grant"})).0,
            class,
            "{status} speaks about the server"
        );
    }
}

#[test]
fn b44_only_what_the_provider_or_its_spec_calls_dead_is_dead() {
    let atlassian =
        profile(json!({"errors": {"map": {"unauthorized_client": "terminal", "invalid_grant": "transient"}}}));
    assert_eq!(
        error(&atlassian, 403, &json!({"error": "unauthorized_client"})).class(),
        Terminal
    );
    assert_eq!(
        error(&atlassian, 503, &json!({"error": "unauthorized_client"})).class(),
        Terminal
    );
    assert_eq!(
        error(&atlassian, 400, &json!({"error": "invalid_grant"})).class(),
        Transient,
        "the spec knows better"
    );
}

#[test]
fn b49_a_text_instead_of_a_code_is_unknown_and_transient() {
    let refused = (Transient, ErrorCode::ProviderBadResponse);
    for body in [
        json!({}),
        json!({"message": "Invalid Token!"}),
        json!({"error": null}),
        json!({"error": ["invalid_grant"]}),
    ] {
        assert_eq!(plain(400, &body), refused, "{body}");
    }
    for (media_type, body) in [
        ("text/html", "<h1>invalid_grant</h1>"),
        ("text/plain", r#"{"error":"invalid_grant"}"#),
    ] {
        let response = answer_with(400, &[("content-type", media_type)], body);
        let error = read_token_response(&Profile::default(), &response).expect_err("an error");
        assert_eq!((error.class(), error.code()), refused, "{media_type}");
    }
    let doubled = answer(400, r#"{"error":"x","error":"invalid_grant"}"#);
    assert_eq!(
        read_token_response(&Profile::default(), &doubled)
            .expect_err("an error")
            .class(),
        Transient
    );
}

#[test]
fn b48_retry_after_is_seconds_or_a_date_between_a_second_and_an_hour() {
    let now = "Sun, 06 Nov 1994 08:49:37 GMT";
    let table = [
        ("5", Some(5)),
        (" 5 ", Some(5)),
        ("0", Some(1)),
        ("-1", None),
        ("1e9", None),
        ("1000000000", Some(3600)),
        ("99999999999999999999999999", Some(3600)),
        ("abc", None),
        ("", None),
        ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
        ("Sun, 06 Nov 1994 07:00:00 GMT", Some(1)),
        ("Mon, 07 Nov 1994 08:50:07 GMT", Some(3600)),
        ("Sun, 06 Nov 1994 08:50:07 +0100", None),
        ("Sunday, 06-Nov-94 08:50:07 GMT", None),
    ];
    for (value, seconds) in table {
        let headers = [
            ("content-type", "application/json"),
            ("retry-after", value),
            ("date", now),
        ];
        let error = read_token_response(&Profile::default(), &answer_with(429, &headers, "{}")).expect_err("an error");
        assert_eq!(error.retry_after(), seconds.map(Duration::from_secs), "{value:?}");
        assert_eq!(error.class(), RateLimited);
    }
    let undated = answer_with(503, &[("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT")], "");
    assert_eq!(
        read_token_response(&Profile::default(), &undated)
            .expect_err("an error")
            .retry_after(),
        None
    );
    assert_eq!(error(&Profile::default(), 429, &json!({})).retry_after(), None);
}

#[test]
fn b50_the_providers_text_is_made_harmless() {
    let text = format!(
        "no\r\n2026 INFO fake \u{1b}[31m\u{202e}<script>{}",
        "x".repeat(100 << 10)
    );
    let error = error(
        &Profile::default(),
        400,
        &json!({"error": "bad \"code\"\n\u{e9}", "error_description": text}),
    );
    assert_eq!(error.provider_error(), Some("bad\"code\""));
    let description = error.description().expect("a description");
    assert_eq!(description.chars().count(), 256);
    assert!(
        description.starts_with("no  2026 INFO fake [31m<script>"),
        "{description}"
    );
    assert!(!format!("{error} {error:?}").contains("INFO"), "our sentence only");
}

#[test]
fn b50_secrets_that_come_back_are_masked_even_at_the_cut() {
    let (secret, code) = ("p%+/s3cret", "s3cr3t-code");
    let text = format!(
        "{} secret={secret}&code={code} {}p%25%2B%2Fs3cret",
        "y".repeat(20),
        "z".repeat(200)
    );
    let body = json!({"error": format!("bad_{code}"), "error_description": text});
    let error = error(&Profile::default(), 400, &body).masked(&[secret, code, ""]);
    assert_eq!(error.provider_error(), Some("bad_…"));
    let description = error.description().expect("a description");
    assert!(
        description.contains("secret=…&code=… z") && !description.contains("s3cr"),
        "{description}"
    );

    let long = "s".repeat(5000);
    let echoed = json!({"error": "x", "error_description": format!("{}{long}", "a".repeat(250))});
    let error = self::error(&Profile::default(), 400, &echoed).masked(&[&long]);
    assert!(
        !error.description().expect("a description").contains('s'),
        "no half of a secret is left"
    );
}

#[test]
fn b51_statuses_without_a_code() {
    let table = [
        (401, Client, ErrorCode::ClientRejected),
        (403, Transient, ErrorCode::ProviderBadResponse),
        (404, Config, ErrorCode::ProviderConfigError),
        (405, Config, ErrorCode::ProviderConfigError),
        (408, Transient, ErrorCode::ProviderBadResponse),
        (429, RateLimited, ErrorCode::ProviderUnavailable),
        (500, Transient, ErrorCode::ProviderUnavailable),
        (502, Transient, ErrorCode::ProviderUnavailable),
        (503, Transient, ErrorCode::ProviderUnavailable),
        (599, Transient, ErrorCode::ProviderUnavailable),
        (100, Transient, ErrorCode::ProviderBadResponse),
        (202, Transient, ErrorCode::ProviderBadResponse),
        (204, Transient, ErrorCode::ProviderBadResponse),
        (999, Transient, ErrorCode::ProviderBadResponse),
        (0, Transient, ErrorCode::ProviderBadResponse),
    ];
    for (status, class, code) in table {
        assert_eq!(plain(status, &json!({})), (class, code), "{status}");
        let html = answer_with(
            status,
            &[("content-type", "text/html"), ("www-authenticate", "Basic")],
            "<html>",
        );
        let error = read_token_response(&Profile::default(), &html).expect_err("an error");
        assert_eq!((error.class(), error.code()), (class, code), "{status} as HTML");
    }
    // A token under another status than 200 or 201 is no token.
    assert_eq!(
        plain(202, &json!({"access_token": "a"})).1,
        ErrorCode::ProviderBadResponse
    );
}

proptest! {
    #[test]
    fn provider_text_is_always_harmless(word in any::<String>(), text in any::<String>(), after in "[ -~]{0,40}") {
        let headers = [("content-type", "application/json"), ("retry-after", &*after), ("date", &*after)];
        let body = json!({"error": word, "error_description": text}).to_string();
        let error = read_token_response(&Profile::default(), &answer_with(400, &headers, body)).expect_err("an error");
        let shown = error.provider_error().unwrap_or_default();
        prop_assert!(shown.len() <= 64 && shown.bytes().all(|b| (0x21..=0x7e).contains(&b)));
        let description = error.description().unwrap_or_default();
        prop_assert!(description.chars().count() <= 256 && !description.contains(char::is_control));
        prop_assert!(error.retry_after().is_none_or(|wait| (1..=3600).contains(&wait.as_secs())));
    }
}
