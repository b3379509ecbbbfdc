//! What the browser brings back.

use proptest::prelude::*;
use valetkey_core::ErrorCode;
use valetkey_oauth::{CallbackError, IssuerError, read_callback};

fn state_of(error: &CallbackError) -> Option<&str> {
    error.state().map(|state| state.expose().as_str())
}

#[test]
fn a_code_and_what_comes_with_it_is_read() {
    let callback =
        read_callback("code=c%2B1&state=s&realmId=4620&iss=https%3A%2F%2Fas.example&x=").expect("a callback");
    assert_eq!(callback.state.expose(), "s");
    assert_eq!(callback.code.as_ref().expect("a code").expose(), "c+1");
    assert!(callback.error.is_none());
    assert_eq!(callback.iss.as_deref(), Some("https://as.example"));
    assert_eq!(callback.extra["realmId"], "4620");
    assert_eq!(callback.extra.len(), 2);
}

#[test]
fn a02_debug_shows_no_value() {
    let callback = read_callback("code=CANARY1&state=CANARY2&realmId=CANARY3&iss=CANARY4").expect("a callback");
    assert!(!format!("{callback:?}").contains("CANARY"));
    let error = read_callback("code=CANARY1&state=CANARY2&error=CANARY3").expect_err("both");
    assert!(!format!("{error:?} {error}").contains("CANARY"));
}

#[test]
fn a03_without_a_state_it_is_nobodys() {
    for query in ["", "code=abc", "code=abc&state=", "code=abc&State=s", "state"] {
        let error = read_callback(query).expect_err(query);
        assert!(matches!(error, CallbackError::MissingState), "{query}");
        assert_eq!((error.code(), state_of(&error)), (ErrorCode::FlowInvalid, None));
    }
}

#[test]
fn a18_the_issuer_is_compared_byte_for_byte() {
    let with = |iss: &str| read_callback(&format!("code=c&state=s&iss={iss}")).expect("a callback");
    let issuer = Some("https://as.example");
    assert_eq!(with("https%3A%2F%2Fas.example").check_issuer(issuer, true), Ok(()));
    let wrong = [
        "https://as.example/",
        "https://AS.example",
        "https://as.example:443",
        "https://as.example%252f",
        "x",
    ];
    for iss in wrong {
        let error = with(iss).check_issuer(issuer, false).expect_err(iss);
        assert_eq!(
            (error, error.code()),
            (IssuerError::Mismatch, ErrorCode::IssuerMismatch),
            "{iss}"
        );
    }
}

#[test]
fn a16_a19_the_issuer_is_needed_where_announced_and_right_wherever_it_is() {
    let without = read_callback("code=c&state=s").expect("a callback");
    let with = read_callback("error=access_denied&state=s&iss=https://evil.example").expect("a callback");
    assert_eq!(
        without.check_issuer(Some("https://as.example"), true),
        Err(IssuerError::Missing)
    );
    assert_eq!(without.check_issuer(Some("https://as.example"), false), Ok(()));
    assert_eq!(
        with.check_issuer(Some("https://as.example"), false),
        Err(IssuerError::Mismatch)
    );
    assert_eq!(with.check_issuer(None, false), Ok(()));
}

#[test]
fn rfc9207_section_2_examples() {
    let code = "code=x1848ZT64p4IirMPT0R-X3141MFPTuBX-VFL_cvaplMH58\
                &state=ZWVlNDBlYzA1NjdkMDNhYjg3ZjUxZjAyNGQzMTM2NzI&iss=https%3A%2F%2Fhonest.as.example";
    let error =
        "error=access_denied&state=N2JjNGJhY2JiZjRhYzA3MGJkMzNmMDE5OWJhZmJhZjA&iss=https%3A%2F%2Fhonest.as.example";
    for query in [code, error] {
        let callback = read_callback(query).expect("a callback");
        assert_eq!(callback.check_issuer(Some("https://honest.as.example"), true), Ok(()));
    }
}

#[test]
fn a30_implicit_answers_are_refused() {
    for query in [
        "access_token=CANARY&token_type=bearer&state=s",
        "code=c&state=s&id_token=CANARY",
        "state=s&access_token=",
    ] {
        let error = read_callback(query).expect_err(query);
        assert!(matches!(error, CallbackError::Invalid(_)), "{query}");
        assert_eq!(state_of(&error), Some("s"), "the state must still be used up");
    }
}

#[test]
fn a31_repeated_parameters_are_refused() {
    let table = [
        ("state=a&state=b&code=c", None),
        ("state=a&state=a&code=c", None),
        ("state=a&state[]=a&code=c", None),
        ("state[]=a&code=c", None),
        ("state[x]=1&code=c", None),
        ("state%5B%5D=a&code=c", None),
        ("state=s&code=a&code=b", Some("s")),
        ("state=s&code=a&code=", Some("s")),
        ("state=s&code=a&co%64e=b", Some("s")),
        ("state=s&code=a&code[0]=b", Some("s")),
        ("state=s&code=a&iss=x&iss=x", Some("s")),
        ("state=s&error=a&error=b", Some("s")),
        ("state=s&code=a&realmId=1&realmId=2", Some("s")),
    ];
    for (query, state) in table {
        let error = read_callback(query).expect_err(query);
        assert!(matches!(error, CallbackError::Duplicate(_)), "{query}");
        assert_eq!(
            (error.code(), state_of(&error)),
            (ErrorCode::DuplicateParameter, state),
            "{query}"
        );
    }
}

#[test]
fn a32_a_code_and_an_error_or_neither_is_refused_and_carries_the_state() {
    for query in [
        "state=s",
        "state=s&code=",
        "state=s&error=",
        "state=s&code=c&error=access_denied",
    ] {
        let error = read_callback(query).expect_err(query);
        assert!(matches!(error, CallbackError::Invalid(_)), "{query}");
        assert_eq!(
            (error.code(), state_of(&error)),
            (ErrorCode::FlowInvalid, Some("s")),
            "{query}"
        );
    }
}

#[test]
fn a33_sizes_are_limited() {
    let code = |length: usize| format!("state=s&code={}", "c".repeat(length));
    assert!(read_callback(&code(6 << 10)).is_ok());
    assert!(read_callback(&code(8 << 10)).is_ok());
    for query in [
        code((8 << 10) + 1),
        code(17 << 10),
        format!("state=s&error_description={}", "x".repeat(1 << 20)),
    ] {
        assert!(
            matches!(read_callback(&query), Err(CallbackError::TooLarge)),
            "{}",
            query.len()
        );
    }
}

#[test]
fn a34_bad_bytes_are_refused() {
    let bad = [
        "%00",
        "%0d%0a",
        "%0A",
        "%ff",
        "%c0%80",
        "%ed%a0%80",
        "%c2%85",
        "%7f",
        "%",
        "%4",
        "%zz",
        "\n",
    ];
    for bytes in bad {
        for name in ["code", "error", "error_description", "iss", "realmId", "state"] {
            let given = if name == "state" { "" } else { "state=s&" };
            let query = format!("{given}{name}=a{bytes}-");
            let error = read_callback(&query).expect_err(&query);
            assert!(matches!(error, CallbackError::Invalid(_)), "{query}");
            assert_eq!(state_of(&error), (name != "state").then_some("s"), "{query}");
        }
    }
}

#[test]
fn a35_a_description_of_several_lines_does_not_hide_the_refusal() {
    let query = "state=s&error=access_denied&error_description=AADSTS65004%3a+User+declined.%0d%0aTrace+ID%3a+1";
    let error = read_callback(query).expect("an answer").error.expect("a refusal");
    assert_eq!(error.code(), ErrorCode::DeniedByUser);
    assert!(!error.description().expect("a text").contains(char::is_control));
}

#[test]
fn a35_refusals_get_words_of_ours() {
    let table = [
        ("access_denied", ErrorCode::DeniedByUser),
        ("server_error", ErrorCode::ProviderUnavailable),
        ("temporarily_unavailable", ErrorCode::ProviderUnavailable),
        ("invalid_scope", ErrorCode::ProviderConfigError),
        ("unauthorized_client", ErrorCode::ProviderConfigError),
        ("interaction_required", ErrorCode::ProviderRefused),
        ("something_else", ErrorCode::ProviderRefused),
    ];
    for (word, code) in table {
        let query = format!("state=s&error={word}&error_description=no+%3Cb%3E%E2%80%AEthanks");
        let error = read_callback(&query).expect("a callback").error.expect("an error");
        assert_eq!((error.code(), error.error()), (code, word));
        assert_eq!(error.description(), Some("no <b>thanks"));
    }
    let long = read_callback(&format!("state=s&error={}", "e".repeat(300)))
        .expect("a callback")
        .error
        .expect("an error");
    assert_eq!((long.error().len(), long.code()), (64, ErrorCode::ProviderRefused));
}

proptest! {
    #[test]
    fn any_query_is_read_without_panic_and_yields_harmless_text(query in "[a-z&=%+0-9A-F\\[\\]\u{0}-\u{ff}]{0,200}") {
        if let Ok(callback) = read_callback(&query) {
            prop_assert!(!callback.state.expose().is_empty());
            prop_assert!(callback.code.is_some() != callback.error.is_some());
            let values = callback.extra.iter().flat_map(|(name, value)| [name, value]);
            prop_assert!(values.chain(callback.iss.iter()).all(|text| !text.contains(char::is_control)));
        }
    }

    #[test]
    fn a_well_formed_callback_reads_back(state in "[A-Za-z0-9_-]{1,43}", code in "[ -~]{1,100}") {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("state", &state).append_pair("code", &code).finish();
        let callback = read_callback(&query).expect("a callback");
        prop_assert_eq!(callback.state.expose(), &state);
        prop_assert_eq!(callback.code.as_ref().map(|code| code.expose().as_str()), Some(code.as_str()));
    }
}
