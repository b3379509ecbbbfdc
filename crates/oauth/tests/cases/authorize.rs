//! The authorization request.

use std::collections::BTreeMap;

use serde_json::json;
use url::Url;
use valetkey_core::ErrorCode;
use valetkey_oauth::{AuthorizationRequest, AuthorizeError, Profile, check_extra_params};

use crate::{params, profile, query, url};

struct Asked {
    profile: Profile,
    endpoint: Url,
    scopes: Vec<String>,
    resource: Option<&'static str>,
    extra: BTreeMap<String, String>,
    challenge: Option<&'static str>,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            profile: Profile::default(),
            endpoint: url("https://as.example/authorize"),
            scopes: vec!["read".to_owned(), "write".to_owned()],
            resource: None,
            extra: BTreeMap::new(),
            challenge: Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        }
    }
}

impl Asked {
    fn url(&self) -> Result<Url, AuthorizeError> {
        AuthorizationRequest {
            profile: &self.profile,
            endpoint: &self.endpoint,
            client_id: "id&1",
            redirect_uri: "https://client.example/cb/slack2",
            state: "st-ate",
            challenge: self.challenge,
            scopes: &self.scopes,
            resource: self.resource,
            extra_params: &self.extra,
        }
        .url()
    }
}

#[test]
fn the_plain_request_has_exactly_these_parameters() {
    let url = Asked::default().url().expect("a URL");
    let expected = params(&[
        ("response_type", "code"),
        ("client_id", "id&1"),
        ("redirect_uri", "https://client.example/cb/slack2"),
        ("state", "st-ate"),
        ("scope", "read write"),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
    ]);
    assert_eq!(query(&url), expected);
    assert!(
        url.as_str().contains("scope=read%20write"),
        "a space that every decoder reads: {url}"
    );
}

#[test]
fn what_the_configured_url_has_is_kept_verbatim() {
    let endpoint = url("https://as.example/authorize?tenant=a%2Fb&prompt=none&empty");
    let asked = Asked {
        endpoint,
        extra: params(&[("prompt", "consent")]),
        ..Asked::default()
    };
    let url = asked.url().expect("a URL");
    assert!(
        url.as_str()
            .starts_with("https://as.example/authorize?tenant=a%2Fb&empty&response_type=code"),
        "{url}"
    );
    assert_eq!(query(&url)["prompt"], "consent");
}

#[test]
fn scopes_go_where_and_how_the_provider_wants_them() {
    let slack = json!({"authorize": {"scope_param": "user_scope", "scope_separator": ","}});
    let asked = Asked {
        profile: profile(slack),
        ..Asked::default()
    };
    let sent = query(&asked.url().expect("a URL"));
    assert_eq!(sent["user_scope"], "read,write");
    assert!(!sent.contains_key("scope"));
    let none = Asked {
        scopes: Vec::new(),
        ..Asked::default()
    };
    assert!(!query(&none.url().expect("a URL")).contains_key("scope"));
}

#[test]
fn a25_reserved_parameters_cannot_be_overridden() {
    let names = [
        "response_type",
        "redirect_uri",
        "state",
        "code_challenge",
        "code_challenge_method",
        "client_id",
        "scope",
        "nonce",
        "response_mode",
        "resource",
        "request",
        "request_uri",
        "iss",
    ];
    for name in names {
        let spellings = [
            name.to_owned(),
            name.to_uppercase(),
            name.replace('_', "%5f"),
            name.replacen('e', "%2565", 1),
            name.replace('e', "%65").replace('s', "%73"),
            format!(" {name}"),
            format!("{name}%00"),
            format!("+{name}"),
            format!("{name}[]"),
        ];
        for spelling in spellings {
            let extra = params(&[(&spelling, "x")]);
            let error = check_extra_params(&extra).expect_err(&spelling);
            assert_eq!(error, AuthorizeError::Reserved(name.to_owned()), "{spelling}");
            assert_eq!(error.code(), ErrorCode::ReservedParameter);
            assert_eq!(
                Asked {
                    extra,
                    ..Asked::default()
                }
                .url(),
                Err(error),
                "{spelling}"
            );
        }
        let endpoint = url(&format!("https://as.example/authorize?x=1&{}=y", name.to_uppercase()));
        let asked = Asked {
            endpoint,
            ..Asked::default()
        };
        assert_eq!(
            asked.url(),
            Err(AuthorizeError::Reserved(name.to_owned())),
            "in the endpoint: {name}"
        );
    }
    for name in ["prompt", "access_type", "audience", "login_hint", "owner"] {
        assert_eq!(check_extra_params(&params(&[(name, "x")])), Ok(()));
    }
    for name in ["", "a b", "a\nb", "\u{e9}"] {
        assert_eq!(
            check_extra_params(&params(&[(name, "x")])),
            Err(AuthorizeError::Name),
            "{name:?}"
        );
    }
}

#[test]
fn a25_the_scope_parameter_of_the_provider_is_reserved_too() {
    let slack = profile(json!({"authorize": {"scope_param": "user_scope"}}));
    let asked = Asked {
        profile: slack,
        extra: params(&[("User_Scope", "admin")]),
        ..Asked::default()
    };
    assert_eq!(asked.url(), Err(AuthorizeError::Reserved("user_scope".to_owned())));
}

#[test]
fn only_a_spec_may_say_response_mode_and_only_query() {
    let microsoft = profile(json!({"authorize": {"extra_params": {"response_mode": "query"}}}));
    let asked = Asked {
        profile: microsoft,
        ..Asked::default()
    };
    assert_eq!(query(&asked.url().expect("a URL"))["response_mode"], "query");
    for (name, value) in [
        ("response_mode", "form_post"),
        ("response_mode", "fragment"),
        ("nonce", "1"),
        ("state", "1"),
    ] {
        let profile: Profile =
            serde_json::from_value(json!({"authorize": {"extra_params": {name: value}}})).expect("read");
        assert!(profile.check().is_err(), "{name}={value}");
        assert!(
            Asked {
                profile,
                ..Asked::default()
            }
            .url()
            .is_err(),
            "{name}={value}"
        );
    }
}

#[test]
fn a26_pkce_is_s256_unless_the_spec_says_why_not() {
    let without = Asked {
        challenge: None,
        ..Asked::default()
    };
    assert_eq!(without.url(), Err(AuthorizeError::ChallengeMissing));
    let off = profile(json!({"authorize": {"pkce": false, "pkce_off_reason": "refuses unknown parameters"}}));
    let sent = query(
        &Asked {
            profile: off,
            ..Asked::default()
        }
        .url()
        .expect("a URL"),
    );
    assert!(!sent.keys().any(|name| name.starts_with("code_challenge")));
    let silent: Profile = serde_json::from_value(json!({"authorize": {"pkce": false}})).expect("read");
    assert_eq!(
        silent.check().expect_err("no reason").field(),
        "authorize.pkce_off_reason"
    );
}

#[test]
fn a42_the_endpoint_is_checked_again_at_start() {
    for bad in [
        "javascript:alert(1)",
        "https://u:p@as.example/",
        "https://as.example/#f",
        "https://as.example/$(x)",
    ] {
        let asked = Asked {
            endpoint: url(bad),
            ..Asked::default()
        };
        assert!(matches!(asked.url(), Err(AuthorizeError::Endpoint(_))), "{bad}");
    }
}

#[test]
fn a43_a_scope_cannot_smuggle_another_one_in() {
    for bad in ["read admin", "", "read\u{a0}admin", "a\"b", "a\\b", "a\nb", "\u{e9}"] {
        let asked = Asked {
            scopes: vec![bad.to_owned()],
            ..Asked::default()
        };
        assert_eq!(asked.url(), Err(AuthorizeError::Scope), "{bad:?}");
    }
    let comma = profile(json!({"authorize": {"scope_separator": ","}}));
    let asked = Asked {
        profile: comma,
        scopes: vec!["read,admin".to_owned()],
        ..Asked::default()
    };
    assert_eq!(asked.url(), Err(AuthorizeError::Scope));
    // What is percent-encoded here is encoded again, and stays one scope.
    let asked = Asked {
        scopes: vec!["read%20admin".to_owned()],
        ..Asked::default()
    };
    assert_eq!(query(&asked.url().expect("a URL"))["scope"], "read%20admin");
}

#[test]
fn a44_the_resource_is_sent_as_it_is_and_has_no_fragment() {
    let asked = Asked {
        resource: Some("https://mcp.example/api"),
        ..Asked::default()
    };
    assert_eq!(
        query(&asked.url().expect("a URL"))["resource"],
        "https://mcp.example/api"
    );
    for bad in ["https://mcp.example/#x", "mcp.example", "", "https://mcp.example/a b"] {
        let asked = Asked {
            resource: Some(bad),
            ..Asked::default()
        };
        assert_eq!(asked.url(), Err(AuthorizeError::Resource), "{bad:?}");
    }
}

#[test]
fn a02_debug_shows_no_state() {
    let asked = Asked::default();
    let request = AuthorizationRequest {
        profile: &asked.profile,
        endpoint: &asked.endpoint,
        client_id: "id",
        redirect_uri: "https://client.example/cb",
        state: "the-state",
        challenge: asked.challenge,
        scopes: &[],
        resource: None,
        extra_params: &asked.extra,
    };
    assert_eq!(format!("{request:?}"), "AuthorizationRequest to https://as.example");
}
