//! The cases of the security list that this crate answers for: each test is named after its case.

mod authorize;
mod callback;
mod discovery;
mod errors;
mod fields;
mod id_token;
mod profile;
mod push;
mod request;
mod revoke;
mod shape;
mod step_up;
mod userinfo;

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use url::Url;
use valetkey_core::{Request, Response};
use valetkey_oauth::{Client, Profile, TokenError, Tokens, read_token_response};

/// An answer with these headers.
fn answer_with(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Response {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::try_from(*name).expect("a name"),
                HeaderValue::try_from(*value).expect("a value"),
            )
        })
        .collect();
    Response {
        status,
        headers,
        body: body.as_ref().to_vec().into(),
    }
}

/// A JSON answer.
fn answer(status: u16, body: impl AsRef<[u8]>) -> Response {
    answer_with(status, &[("content-type", "application/json")], body)
}

/// Reads a good status with this body as a plain provider's.
fn read(body: impl AsRef<[u8]>) -> Result<Tokens, TokenError> {
    read_token_response(&Profile::default(), &answer(200, body))
}

/// What a profile is in a spec; JSON is YAML too.
fn profile(spec: Value) -> Profile {
    let profile: Profile = serde_json::from_value(spec).expect("a profile");
    profile.check().expect("a profile that works");
    profile
}

fn url(text: &str) -> Url {
    Url::parse(text).expect("a URL")
}

fn client() -> Client {
    Client {
        id: "s6BhdRkqt3".to_owned(),
        secret: Some("7Fjfp0ZBr1KtDRbnfVdmIw".into()),
    }
}

fn params(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// The members of a form body; the test fails if one is there twice.
fn form(request: &Request) -> BTreeMap<String, String> {
    let mut members = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(&request.body) {
        assert!(
            members.insert(name.to_string(), value.to_string()).is_none(),
            "{name} twice"
        );
    }
    members
}

/// The parameters of a URL; the test fails if one is there twice.
fn query(url: &Url) -> BTreeMap<String, String> {
    let mut members = BTreeMap::new();
    for (name, value) in url.query_pairs() {
        assert!(
            members.insert(name.to_string(), value.to_string()).is_none(),
            "{name} twice"
        );
    }
    members
}
