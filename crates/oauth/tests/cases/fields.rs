//! The fields beside the tokens: nothing in them costs anybody a refresh token.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use valetkey_core::Timestamp;
use valetkey_oauth::{Profile, Tokens, read_token_response};

use crate::{answer, profile};

/// Reads an answer with these members besides the tokens; the new refresh token must have survived them.
fn tokens(profile: &Profile, members: &Value) -> Tokens {
    let mut body = json!({"access_token": "a", "refresh_token": "new"});
    if let (Some(body), Some(members)) = (body.as_object_mut(), members.as_object()) {
        body.extend(members.clone());
    }
    let tokens = read_token_response(profile, &answer(200, body.to_string())).expect("tokens");
    if members.get("refresh_token").is_none() {
        assert_eq!(
            tokens.refresh_token.as_ref().map(|token| token.expose().as_str()),
            Some("new")
        );
    }
    tokens
}

fn lifetime(members: &Value) -> (Option<u64>, Vec<&'static str>) {
    let tokens = tokens(&Profile::default(), members);
    (tokens.expires_in.map(|span| span.as_secs()), tokens.notes)
}

#[test]
fn b20_without_expires_in_the_life_is_unknown_or_the_default() {
    assert_eq!(lifetime(&json!({})), (None, vec![]));
    let salesforce = profile(json!({"response": {"default_lifetime_s": 7200}}));
    assert_eq!(
        tokens(&salesforce, &json!({})).expires_in,
        Some(Duration::from_hours(2))
    );
    assert_eq!(
        tokens(&salesforce, &json!({"expires_in": 60})).expires_in,
        Some(Duration::from_mins(1))
    );
    assert_eq!(
        tokens(&salesforce, &json!({"expires_in": 0})).expires_in,
        None,
        "there, and unknown"
    );
}

#[test]
fn b21_b22_b23_zero_negative_and_absurd_lives_are_unknown() {
    let ten_years = 10 * 365 * 86_400_u64;
    assert_eq!(lifetime(&json!({"expires_in": ten_years})), (Some(ten_years), vec![]));
    let unknown = [
        json!(0),
        json!("0"),
        json!(0.9),
        json!(-1),
        json!(-1_000_000_000_000_000_000_i64),
        json!(-0.5),
        json!("-1"),
        json!(ten_years + 1),
        json!(10_000_000_000_u64),
        json!(1_u64 << 53),
        json!(1_u64 << 63),
        json!(u64::MAX),
        json!(1e18),
        json!(1e308),
        json!("99999999999999999999999"),
    ];
    for value in unknown {
        assert_eq!(
            lifetime(&json!({"expires_in": value})),
            (None, vec!["expires_in"]),
            "{value}"
        );
    }
}

#[test]
fn b24_b25_fractions_and_texts_are_read() {
    for (value, seconds) in [
        (json!(3599.5), 3599),
        (json!(3.6e3), 3600),
        (json!("3600"), 3600),
        (json!(" 3600 "), 3600),
    ] {
        assert_eq!(
            lifetime(&json!({"expires_in": value})),
            (Some(seconds), vec![]),
            "{value}"
        );
    }
    for value in ["3600s", "abc", "", "1e9", "0x10", "NaN"] {
        assert_eq!(
            lifetime(&json!({"expires_in": value})),
            (None, vec!["expires_in"]),
            "{value}"
        );
    }
}

#[test]
fn b26_other_types_are_unknown() {
    for value in [json!(true), json!(null), json!([]), json!({}), json!([3600])] {
        assert_eq!(
            lifetime(&json!({"expires_in": value})),
            (None, vec!["expires_in"]),
            "{value}"
        );
    }
}

#[test]
fn b27_absolute_times_count_only_where_the_spec_names_field_and_unit() {
    let ignored = tokens(
        &Profile::default(),
        &json!({"expires_at": 1_790_000_000, "expires_on": "1790000000"}),
    );
    assert_eq!((ignored.expires_at, ignored.expires_in), (None, None));
    let at = |unit: &str, value: Value| {
        let profile = profile(json!({"response": {"expires_at": {"path": "expires_at", "unit": unit}}}));
        tokens(&profile, &json!({"expires_at": value})).expires_at
    };
    let time = Some(Timestamp(1_790_000_000_000));
    assert_eq!(at("seconds", json!(1_790_000_000)), time);
    assert_eq!(at("seconds", json!("1790000000")), time);
    assert_eq!(at("milliseconds", json!(1_790_000_000_000_u64)), time);
    assert_eq!(at("rfc3339", json!("2026-09-21T14:13:20Z")), time);
    assert_eq!(
        at("seconds", json!(1_790_000_000_000_u64)),
        None,
        "milliseconds are no seconds"
    );
    for bad in [
        json!(-1),
        json!(0),
        json!("soon"),
        json!(null),
        json!(u64::MAX),
        json!(1e300),
    ] {
        assert_eq!(at("milliseconds", bad.clone()), None, "{bad}");
        assert_eq!(at("rfc3339", bad.clone()), None, "{bad}");
    }
    let both = profile(json!({"response": {"expires_at": {"path": "expires_at", "unit": "seconds"}}}));
    let tokens = tokens(&both, &json!({"expires_at": 1_790_000_000, "expires_in": 60}));
    assert_eq!(
        (tokens.expires_in, tokens.expires_at),
        (Some(Duration::from_mins(1)), None),
        "a lifetime needs no clock"
    );
}

#[test]
fn b31_the_life_of_the_refresh_token_is_read_from_its_usual_names() {
    let life =
        |profile: &Profile, members: Value| tokens(profile, &members).refresh_expires_in.map(|span| span.as_secs());
    let plain = Profile::default();
    assert_eq!(
        life(&plain, json!({"refresh_token_expires_in": 15_897_600})),
        Some(15_897_600)
    );
    assert_eq!(life(&plain, json!({"refresh_expires_in": "1800"})), Some(1800));
    assert_eq!(life(&plain, json!({})), None);
    assert_eq!(life(&plain, json!({"refresh_expires_in": 0})), None);
    let intuit = profile(json!({"response": {"refresh_expires_in": "x_refresh_token_expires_in"}}));
    assert_eq!(
        life(&intuit, json!({"x_refresh_token_expires_in": 8_726_400})),
        Some(8_726_400)
    );
}

#[test]
fn b35_scopes_come_as_text_with_spaces_or_commas_or_as_an_array() {
    let scopes = |profile: &Profile, scope: Value| tokens(profile, &json!({"scope": scope})).scopes;
    let plain = Profile::default();
    let abc = Some(vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]);
    for value in [
        json!("a b c"),
        json!("a,b,c"),
        json!(" a, b  c b "),
        json!(["a", "b", "c"]),
    ] {
        assert_eq!(scopes(&plain, value.clone()), abc, "{value}");
    }
    for value in [
        json!(""),
        json!(null),
        json!(" "),
        json!([]),
        json!(7),
        json!([1]),
        json!({"a": 1}),
        json!("a\u{0}b"),
        json!(["a b"]),
    ] {
        assert_eq!(scopes(&plain, value.clone()), None, "{value}: as asked");
    }
    let spaces = profile(json!({"response": {"scope_separators": " "}}));
    assert_eq!(
        scopes(&spaces, json!("a,b c")),
        Some(vec!["a,b".to_owned(), "c".to_owned()])
    );
    assert_eq!(tokens(&plain, &json!({"scope": 7})).notes, ["scope"]);
}

#[test]
fn b36_b37_no_refresh_token_is_no_refresh_token() {
    for value in [json!(null), json!("")] {
        assert!(
            tokens(&Profile::default(), &json!({"refresh_token": value}))
                .refresh_token
                .is_none()
        );
    }
}

#[test]
fn b42_nothing_is_kept_that_the_spec_does_not_name() {
    let zoho = profile(json!({"response": {
        "account_id": "user.id", "account_label": "user.name",
        "metadata": {"api_domain": "api_domain", "huge": "huge", "absent": "absent"}
    }}));
    let tokens = tokens(
        &zoho,
        &json!({
            "api_domain": "https://www.zohoapis.eu", "id_token": "CANARY", "bot": {"token": "CANARY"}, "huge": "x".repeat(20_000),
            "user": {"id": 42, "name": "Ann\r\n\u{202e}Lee"}
        }),
    );
    assert_eq!(
        Value::Object(tokens.metadata),
        json!({"api_domain": "https://www.zohoapis.eu"})
    );
    assert_eq!(tokens.account_id.as_deref(), Some("42"));
    assert_eq!(tokens.account_label.as_deref(), Some("Ann  Lee"));
    assert_eq!(tokens.notes, ["metadata"]);
}

#[test]
fn an_account_that_makes_no_sense_is_unknown() {
    let profile = profile(json!({"response": {"account_id": "id", "account_label": "name"}}));
    for value in [
        json!(true),
        json!([]),
        json!(1.5),
        json!("a\nb"),
        json!("x".repeat(257)),
    ] {
        let tokens = tokens(&profile, &json!({"id": value, "name": {}}));
        assert_eq!((tokens.account_id, tokens.account_label), (None, None), "{value}");
        assert_eq!(tokens.notes, ["account_id", "account_label"]);
    }
}

#[test]
fn debug_shows_no_token() {
    let shown = format!("{:?}", tokens(&Profile::default(), &json!({"refresh_token": "CANARY"})));
    assert!(shown.contains("[redacted]") && !shown.contains("CANARY"), "{shown}");
}

proptest! {
    #[test]
    fn a_lifetime_is_unknown_or_between_a_second_and_ten_years(seconds in any::<f64>(), text in "[ 0-9.eE+-]{0,12}") {
        for value in [json!(seconds), json!(text)] {
            if let Some(life) = tokens(&Profile::default(), &json!({"expires_in": value})).expires_in {
                prop_assert!((1..=10 * 365 * 86_400).contains(&life.as_secs()), "{}", value);
            }
        }
    }
}
