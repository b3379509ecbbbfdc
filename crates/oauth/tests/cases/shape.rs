//! The shape of a good answer: what is refused before any field is looked at, and the tokens themselves.

use http::HeaderValue;
use proptest::prelude::*;
use serde_json::json;
use valetkey_core::{ErrorCode, Response};
use valetkey_oauth::apply::authorization_header;
use valetkey_oauth::{ErrorClass, MAX_BODY, Profile, TokenError, read_refresh_response, read_token_response};

use crate::{answer, answer_with, profile, read};

const GOOD: &str = r#"{"access_token":"2YotnFZFEjr1zCsicMWpAA","token_type":"bearer","expires_in":3600}"#;

fn refused(profile: &Profile, response: &Response) -> TokenError {
    let error = read_token_response(profile, response).expect_err("refused");
    assert_ne!(
        error.class(),
        ErrorClass::Terminal,
        "an answer that is not understood never ends a grant"
    );
    error
}

#[test]
fn rfc6749_section_5_1_example() {
    let tokens = read(
        r#"{"access_token":"2YotnFZFEjr1zCsicMWpAA","token_type":"example","expires_in":3600,
            "refresh_token":"tGzv3JOkF0XG5Qx2TlKWIA","example_parameter":"example_value"}"#
            .replace("\"example\"", "\"Bearer\""),
    )
    .expect("tokens");
    assert_eq!(tokens.access_token.expose(), "2YotnFZFEjr1zCsicMWpAA");
    assert_eq!(
        tokens.refresh_token.expect("a refresh token").expose(),
        "tGzv3JOkF0XG5Qx2TlKWIA"
    );
    assert_eq!(tokens.token_type, "Bearer");
    assert_eq!(tokens.expires_in.map(|span| span.as_secs()), Some(3600));
    assert!(tokens.metadata.is_empty() && tokens.notes.is_empty() && tokens.scopes.is_none());
}

#[test]
fn b01_the_media_type_decides() {
    let plain = Profile::default();
    for media_type in [
        "text/html",
        "text/plain",
        "text/javascript",
        "application/jsonp",
        "application/xml",
        "",
    ] {
        let response = answer_with(200, &[("content-type", media_type)], GOOD);
        assert_eq!(
            refused(&plain, &response).code(),
            ErrorCode::ProviderBadResponse,
            "{media_type}"
        );
    }
    refused(&plain, &answer_with(200, &[], GOOD));
    let lenient = profile(json!({"response": {"allow_media_types": ["text/plain"]}}));
    assert!(
        read_token_response(
            &lenient,
            &answer_with(200, &[("content-type", "text/plain; charset=utf-8")], GOOD)
        )
        .is_ok()
    );
    refused(&lenient, &answer_with(200, &[("content-type", "text/html")], GOOD));
    assert!(
        read_token_response(
            &plain,
            &answer_with(201, &[("content-type", "Application/JSON;charset=UTF-8")], GOOD)
        )
        .is_ok()
    );
}

#[test]
fn b02_broken_json_is_refused() {
    for cut in 0..GOOD.len() {
        read(&GOOD[..cut]).expect_err("cut");
    }
    let bad = [
        format!("\u{feff}{GOOD}"),
        format!("{GOOD}x"),
        format!("{GOOD}{GOOD}"),
        GOOD.replace("3600", "NaN"),
        GOOD.replace("3600", "Infinity"),
        GOOD.replace("3600", "03600"),
        GOOD.replace("3600", "3600,"),
        GOOD.replace('"', "'"),
        GOOD.replace("2Yotn", "\\ud800"),
        GOOD.replace("2Yotn", "\n"),
        GOOD.replace("3600", &format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000))),
    ];
    for body in bad {
        let error = read(&body).expect_err("broken");
        assert_eq!(error.code(), ErrorCode::ProviderBadResponse);
        assert!(
            !format!("{error:?} {error}").contains("zCsicMWpAA"),
            "the body is in no message"
        );
    }
    read(b"{\"access_token\":\"a\xff\"}").expect_err("not UTF-8");
    assert!(read(format!(" \r\n{GOOD}\n")).is_ok(), "white space around it is JSON");
}

#[test]
fn b03_duplicate_members_are_refused_at_every_depth() {
    read(r#"{"access_token":"A","access_token":"B"}"#).expect_err("twice");
    read(r#"{"access_token":"A","access_toke\u006e":"A"}"#).expect_err("twice, spelt otherwise");
    read(r#"{"access_token":"A","x":[{"y":1,"y":2}]}"#).expect_err("deep inside");
}

#[test]
fn b04_json_that_is_not_an_object_is_refused() {
    for body in [
        "[]",
        "\"x\"",
        "null",
        "true",
        "1",
        "",
        " ",
        "[{\"access_token\":\"a\"}]",
    ] {
        read(body).expect_err(body);
    }
}

#[test]
fn b05_a_form_is_read_only_where_the_spec_says_so() {
    let form = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
    let good = answer_with(200, &form, "access_token=gho%5F1&scope=repo%2Cgist&token_type=bearer");
    refused(&Profile::default(), &good);
    let github = profile(json!({"response": {"format": "json_or_form"}}));
    let tokens = read_token_response(&github, &good).expect("tokens");
    assert_eq!(tokens.access_token.expose(), "gho_1");
    assert_eq!(tokens.scopes.expect("scopes"), ["repo", "gist"]);
    for body in [
        "access_token=a&access_token=b",
        "access_token=%ff",
        "access_token=%",
        "a",
    ] {
        refused(&github, &answer_with(200, &form, body));
    }
    refused(&github, &answer(200, "access_token=a&token_type=bearer"));
}

#[test]
fn b06_a_huge_body_is_refused() {
    let body = format!("{}{}", GOOD, " ".repeat(MAX_BODY));
    assert_eq!(
        refused(&Profile::default(), &answer(200, &body)).code(),
        ErrorCode::ProviderResponseTooLarge
    );
    assert_eq!(
        refused(&Profile::default(), &answer(500, &body)).code(),
        ErrorCode::ProviderResponseTooLarge
    );
}

#[test]
fn b15_an_access_token_is_a_text_of_1_byte_to_16_kib() {
    for (body, code) in [
        ("{}".to_owned(), ErrorCode::ProviderBadResponse),
        (r#"{"access_token":""}"#.to_owned(), ErrorCode::ProviderBadResponse),
        (r#"{"access_token":null}"#.to_owned(), ErrorCode::ProviderBadResponse),
        (r#"{"access_token":12345}"#.to_owned(), ErrorCode::TokenUnusable),
        (r#"{"access_token":{"a":"b"}}"#.to_owned(), ErrorCode::TokenUnusable),
        (
            format!(r#"{{"access_token":"{}"}}"#, "a".repeat((16 << 10) + 1)),
            ErrorCode::TokenUnusable,
        ),
    ] {
        assert_eq!(read(&body).expect_err(&body).code(), code);
    }
    assert!(read(format!(r#"{{"access_token":"{}"}}"#, "a".repeat(16 << 10))).is_ok());
}

#[test]
fn b16_characters_that_do_not_belong_in_a_header_are_refused() {
    for bad in [
        "\r\nX-Evil: 1",
        "\0",
        " ",
        "\u{e9}",
        "\u{7f}",
        "\t",
        "\u{85}",
        "\u{202e}",
    ] {
        for name in ["access_token", "refresh_token"] {
            let mut body = json!({"access_token": "good", "refresh_token": "good"});
            body[name] = format!("a{bad}b").into();
            let error = read(body.to_string()).expect_err(name);
            assert_eq!(error.code(), ErrorCode::TokenUnusable, "{name} {bad:?}");
        }
    }
}

#[test]
fn b17_a_missing_token_type_is_bearer() {
    for body in [
        r#"{"access_token":"a"}"#,
        r#"{"access_token":"a","token_type":null}"#,
        r#"{"access_token":"a","token_type":""}"#,
    ] {
        assert_eq!(read(body).expect("tokens").token_type, "Bearer");
    }
    let other = profile(json!({"response": {"token_type_default": "token"}}));
    let tokens = read_token_response(&other, &answer(200, r#"{"access_token":"a"}"#)).expect("tokens");
    assert_eq!(tokens.token_type, "token");
}

#[test]
fn b18_only_bearer_is_a_usable_type() {
    for good in ["Bearer", "bearer", "BEARER"] {
        assert_eq!(
            read(json!({"access_token": "a", "token_type": good}).to_string())
                .expect("tokens")
                .token_type,
            "Bearer"
        );
    }
    let bad = [
        json!("mac"),
        json!("N_A"),
        json!("PoP"),
        json!("DPoP"),
        json!("Bearer\r\n"),
        json!("b".repeat(1024)),
        json!(1),
        json!({}),
    ];
    for kind in bad {
        let body = json!({"access_token": "a", "token_type": kind}).to_string();
        assert_eq!(read(&body).expect_err(&body).code(), ErrorCode::TokenUnusable);
    }
    let fixed = profile(json!({"response": {"token_type": "bearer"}}));
    let tokens =
        read_token_response(&fixed, &answer(200, r#"{"access_token":"a","token_type":"user"}"#)).expect("tokens");
    assert_eq!(tokens.token_type, "Bearer");
}

#[test]
fn slack_nests_a_users_token_at_the_exchange_and_not_at_the_refresh() {
    let slack = profile(json!({
        "response": {
            "access_token": "authed_user.access_token", "access_token_at_refresh": "access_token", "token_type": "Bearer",
            "success": {"path": "ok", "equals": true}, "account_id": "authed_user.id", "account_label": "team.name",
            "metadata": {"team_id": "team.id"}
        }
    }));
    let exchange = json!({
        "ok": true, "access_token": "xoxb-bot", "token_type": "bot", "refresh_token": "xoxe-bot", "expires_in": 1,
        "team": {"id": "T1", "name": "Acme\u{202e}"},
        "authed_user": {"id": "U1", "access_token": "xoxe.xoxp-user", "token_type": "user", "scope": "channels:read,users:read",
            "refresh_token": "xoxe-user", "expires_in": 43200}
    });
    let tokens = read_token_response(&slack, &answer(200, exchange.to_string())).expect("tokens");
    assert_eq!(tokens.access_token.expose(), "xoxe.xoxp-user");
    assert_eq!(tokens.refresh_token.expect("a refresh token").expose(), "xoxe-user");
    assert_eq!(tokens.expires_in.map(|span| span.as_secs()), Some(43200));
    assert_eq!(tokens.scopes.expect("scopes"), ["channels:read", "users:read"]);
    assert_eq!(
        (tokens.account_id.as_deref(), tokens.account_label.as_deref()),
        (Some("U1"), Some("Acme"))
    );
    assert_eq!(tokens.metadata["team_id"], "T1");

    // The bot's token is not mistaken for the user's.
    let bot_only = json!({"ok": true, "access_token": "xoxb-bot", "authed_user": {"id": "U1"}}).to_string();
    read_token_response(&slack, &answer(200, &bot_only)).expect_err("no user token");

    let refresh = json!({"ok": true, "access_token": "xoxe.xoxp-2", "token_type": "user", "refresh_token": "xoxe-2", "expires_in": 43200});
    let tokens = read_refresh_response(&slack, &answer(200, refresh.to_string())).expect("tokens");
    assert_eq!(tokens.access_token.expose(), "xoxe.xoxp-2");
    assert_eq!(tokens.refresh_token.expect("a refresh token").expose(), "xoxe-2");
}

proptest! {
    #[test]
    fn any_body_is_read_without_panic(body in prop::collection::vec(any::<u8>(), 0..300), status in any::<u16>()) {
        let github = profile(json!({"response": {"format": "json_or_form"}}));
        for media_type in ["application/json", "application/x-www-form-urlencoded"] {
            let response = answer_with(status, &[("content-type", media_type)], &body);
            if let Err(error) = read_token_response(&github, &response) {
                prop_assert_ne!(error.class(), ErrorClass::Terminal);
            }
        }
    }

    #[test]
    fn b16_what_is_accepted_is_always_a_header_value(token in any::<String>(), refresh in "[ -~\u{0}-\u{ff}]{0,20}") {
        let body = json!({"access_token": token, "refresh_token": refresh}).to_string();
        if let Ok(tokens) = read(body) {
            prop_assert_eq!(tokens.access_token.expose(), &token);
            prop_assert!(authorization_header(&tokens.token_type, &tokens.access_token).is_some());
            if let Some(refresh) = tokens.refresh_token {
                prop_assert!(HeaderValue::from_str(refresh.expose()).is_ok());
            }
        }
    }
}
