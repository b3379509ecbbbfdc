//! What an issuer says of a person.

use serde_json::{Value, json};
use url::Url;
use valetkey_oauth::{UserInfoError, read_userinfo, userinfo_request};

use crate::{answer, answer_with};

#[test]
fn the_token_is_in_a_header_that_is_marked_and_never_in_the_url() {
    let endpoint = Url::parse("https://id.example.com/me").expect("a URL");
    let request = userinfo_request(&endpoint, &"abc".into()).expect("a request");
    assert_eq!((&request.method, &request.url), (&http::Method::GET, &endpoint));
    assert_eq!(request.headers["authorization"], "Bearer abc");
    assert!(request.headers["authorization"].is_sensitive());
    assert!(userinfo_request(&endpoint, &"a\r\nb".into()).is_none());
}

#[test]
fn an_answer_names_its_person() {
    let said = read_userinfo(&answer(200, r#"{"sub": "s-1", "roles": ["a"]}"#)).expect("a person");
    assert_eq!((said.subject.as_str(), &said.claims["roles"]), ("s-1", &json!(["a"])));
    for body in [json!({}), json!({"sub": ""}), json!({"sub": 1}), json!([]), Value::Null] {
        let refused = read_userinfo(&answer(200, body.to_string())).expect_err("nobody");
        assert_eq!(refused, UserInfoError::Malformed, "{body}");
    }
    let signed = answer_with(200, &[("content-type", "application/jwt")], r#"{"sub": "s-1"}"#);
    assert_eq!(read_userinfo(&signed).expect_err("not read"), UserInfoError::Malformed);
}

#[test]
fn only_a_refusal_of_the_token_is_one() {
    let refused = |status| read_userinfo(&answer(status, r#"{"sub": "s-1"}"#)).expect_err("nothing");
    assert_eq!(refused(401), UserInfoError::Rejected);
    for status in [302, 403, 429, 500, 503] {
        assert_eq!(refused(status), UserInfoError::Status(status));
    }
}
