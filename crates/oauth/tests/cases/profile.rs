//! Profiles, as specs write them.

use std::time::Duration;

use serde_json::{Value, json};
use valetkey_oauth::profile::{BodyFormat, ClientAuth, ResponseFormat};
use valetkey_oauth::{ErrorClass, Profile, Recovery, Rotation};

use crate::profile;

#[test]
fn an_empty_profile_is_a_provider_that_follows_the_rfcs() {
    let plain = profile(json!({}));
    assert_eq!(plain, Profile::default());
    assert!(plain.authorize.pkce && plain.token.send_redirect_uri);
    assert_eq!(plain.token.client_auth, ClientAuth::ClientSecretBasic);
    assert_eq!(plain.token.body, BodyFormat::Form);
    assert_eq!(plain.response.format, ResponseFormat::Json);
    assert_eq!(plain.rotation, Rotation::SingleUse);
    assert_eq!(plain.revoke, None);
}

#[test]
fn a_profile_reads_back_what_it_writes() {
    let full = profile(json!({
        "authorize": {"scope_separator": ",", "extra_params": {"prompt": "consent"}, "pkce": false, "pkce_off_reason": "x"},
        "token": {"client_auth": "client_secret_post", "basic_raw": true, "body": "json", "extra_headers": {"x-a": "b"}},
        "response": {"success": {"path": "ok", "equals": true}, "expires_at": {"path": "exp", "unit": "milliseconds"}},
        "errors": {"map": {"BAD_REFRESH_TOKEN": "terminal", "limit": "rate_limited"}},
        "rotation": {"leeway_s": 600}, "old_access_token_dies": true, "revoke": {},
        "issuer": "https://as.example", "sends_iss": true, "keep_alive_s": 86400, "refresh_absolute_s": 31_536_000
    }));
    assert_eq!(full.errors.map["limit"], ErrorClass::RateLimited);
    let written = serde_json::to_value(&full).expect("JSON");
    assert_eq!(serde_json::from_value::<Profile>(written).expect("a profile"), full);
}

#[test]
fn rotation_says_what_follows_when_no_answer_came() {
    let table = [
        (json!("none"), Recovery::Retry),
        (json!("overlap"), Recovery::Retry),
        (json!("idempotent"), Recovery::Retry),
        (json!({"leeway_s": 600}), Recovery::RetryWithin(Duration::from_mins(10))),
        (json!("single_use"), Recovery::RetryOnce),
        (json!("single_use_revokes_family"), Recovery::RetryOnceAfterExpiry),
    ];
    for (spec, recovery) in table {
        assert_eq!(
            profile(json!({"rotation": spec})).rotation.recovery(),
            recovery,
            "{spec}"
        );
    }
}

#[test]
fn what_is_not_known_is_refused() {
    let bad = [
        json!({"pkce": true}),
        json!({"authorize": {"pkce_method": "plain"}}),
        json!({"token": {"client_auth": "both"}}),
        json!({"rotation": "sometimes"}),
        json!({"rotation": {"leeway_s": -1}}),
        json!({"errors": {"map": {"x": "dead"}}}),
        json!({"response": {"success": {"path": "ok"}}}),
        json!({"response": {"expires_at": {"path": "x"}}}),
        json!({"revoke": {"method": "GET"}}),
    ];
    for spec in bad {
        assert!(serde_json::from_value::<Profile>(spec.clone()).is_err(), "{spec}");
    }
}

#[test]
fn what_cannot_work_is_refused_with_its_field() {
    let table: [(Value, &str); 16] = [
        (
            json!({"authorize": {"pkce": false, "pkce_off_reason": " "}}),
            "authorize.pkce_off_reason",
        ),
        (json!({"authorize": {"scope_param": ""}}), "authorize.scope_param"),
        (json!({"authorize": {"scope_param": "state"}}), "authorize"),
        (
            json!({"authorize": {"scope_separator": ""}}),
            "authorize.scope_separator",
        ),
        (
            json!({"authorize": {"extra_params": {"redirect_uri": "x"}}}),
            "authorize",
        ),
        (
            json!({"token": {"extra_params": {"client_secret": "x"}}}),
            "token.extra_params",
        ),
        (
            json!({"token": {"extra_headers": {"authorization": "x"}}}),
            "token.extra_headers",
        ),
        (json!({"response": {"access_token": "a..b"}}), "response.access_token"),
        (json!({"response": {"metadata": {"x": ""}}}), "response.metadata"),
        (json!({"response": {"token_type": "a b"}}), "response.token_type"),
        (
            json!({"response": {"default_lifetime_s": 0}}),
            "response.default_lifetime_s",
        ),
        (
            json!({"response": {"allow_media_types": ["text/html"]}}),
            "response.allow_media_types",
        ),
        (
            json!({"response": {"allow_media_types": ["text/plain; charset=utf-8"]}}),
            "response.allow_media_types",
        ),
        (json!({"errors": {"code": ""}}), "errors.code"),
        (json!({"sends_iss": true}), "sends_iss"),
        (json!({"keep_alive_s": 0}), "keep_alive_s"),
    ];
    for (spec, field) in table {
        let profile: Profile = serde_json::from_value(spec.clone()).expect("read");
        let error = profile.check().expect_err(field);
        assert_eq!(error.field(), field, "{spec}");
        assert!(error.to_string().starts_with(&format!("{field}: ")), "{error}");
    }
}
