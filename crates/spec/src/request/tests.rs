use serde_json::{Value, json};
use valetkey_core::ErrorCode;
use valetkey_core::fake::FakeRng;

use crate::{Call, CallContext, Failure, Spec, Step};

/// The first step of an action `a` with the given YAML, in a spec whose base is `https://api.example/v1`.
fn first(action: &str, input: &Value) -> Step {
    let spec = Spec::parse(
        "x.yaml",
        &format!(
            "id: .x\nname: X\nversion: 1\ndescription: x\nbase_url: https://api.example/v1\nauth: [{{type: none}}]\n\
             test: {{request: {{path: /}}}}\nactions:\n  a: {{description: x, effect: write, \
             input: {{additionalProperties: true, properties: {{id: {{}}}}}}, {action}}}\n"
        ),
    );
    let spec = spec.unwrap_or_else(|error| panic!("{error}"));
    let (action, empty) = (spec.action("a").expect("the action"), serde_json::Map::new());
    let ctx = CallContext {
        config: &empty,
        auth_type: "none",
        metadata: &empty,
    };
    action.start(&spec, &ctx, input.clone(), &FakeRng::seeded(1)).next(None)
}

fn call(action: &str, input: &Value) -> Call {
    match first(action, input) {
        Step::Send(call) => call,
        other => panic!("{other:?}"),
    }
}

fn failure(action: &str, input: &Value) -> Failure {
    match first(action, input) {
        Step::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

const PASSTHROUGH: &str = "request: {passthrough: {methods: [GET, POST]}, result: full}";

/// E19: what belongs to the transport, to the credential, or tells who asks is not the caller's to say.
#[test]
fn e19_reserved_headers_are_refused() {
    for name in [
        "Authorization",
        "aUTHORIZATION",
        "Proxy-Authorization",
        "Cookie",
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "TE",
        "Trailer",
        "Upgrade",
        "Connection",
        "Keep-Alive",
        "Expect",
        "Forwarded",
        "X-Forwarded-For",
        "x-forwarded-host",
        "Via",
        "Proxy-Connection",
        "X-Valetkey-User",
        "Accept-Encoding",
    ] {
        let failure = failure(PASSTHROUGH, &json!({"path": "/x", "headers": {name: "x"}}));
        assert_eq!(
            (failure.code, failure.user_error),
            (Some(ErrorCode::HeaderInvalid), true),
            "{name}"
        );
    }
    for (name, value) in [
        ("a b", "x"),
        ("a\r\nb", "x"),
        ("", "x"),
        ("x", "a\nb"),
        ("x", "a\0"),
        ("x", "ä"),
        ("x\0", "y"),
    ] {
        let failure = failure(PASSTHROUGH, &json!({"path": "/x", "headers": {name: value}}));
        assert_eq!(failure.code, Some(ErrorCode::HeaderInvalid), "{name:?}: {value:?}");
    }
    let call = call(
        PASSTHROUGH,
        &json!({"path": "/x", "headers": {"X-Trace": "1", "x-trace": "2"}}),
    );
    assert_eq!(call.request.headers.get_all("x-trace").iter().count(), 1);
}

/// E02, E03, E05: the URL that was checked is the URL that is sent.
#[test]
fn e05_the_checked_url_is_sent() {
    let call = call(
        PASSTHROUGH,
        &json!({"path": "/a%20b/ü".replace('ü', "%C3%BC"), "query": {"q": "a+b c/d?e&f=g#h"}}),
    );
    assert_eq!(
        call.request.url.as_str(),
        "https://api.example/v1/a%20b/%C3%BC?q=a%2Bb%20c/d%3Fe%26f%3Dg%23h"
    );
    assert!(call.attach_credential);
    for path in [
        "//evil.com",
        "/../x",
        "/%2e%2e/x",
        "https://evil.com",
        "x",
        "",
        "/a b",
        "/\u{e9}",
        "/a#b",
        "?x",
    ] {
        let failure = failure(PASSTHROUGH, &json!({"path": path}));
        assert_eq!(failure.code, Some(ErrorCode::PathInvalid), "{path:?}");
    }
    assert!(failure(PASSTHROUGH, &json!({"path": "/x", "query": {"a": {}}})).user_error);
    assert!(failure(PASSTHROUGH, &json!({"path": "/x", "query": [1]})).user_error);
    assert!(failure(PASSTHROUGH, &json!({"path": "/x", "method": "get"})).user_error);
}

#[test]
fn safe_calls_may_be_repeated_blindly() {
    let flags = |action: &str| {
        let call = call(action, &json!({"id": "1", "path": "/x"}));
        (call.attach_credential, call.repeatable, call.safe)
    };
    assert_eq!(flags("request: {path: /x}"), (true, true, true));
    assert_eq!(flags("request: {method: POST, path: /x}"), (true, true, false));
    assert_eq!(
        flags("request: {method: POST, safe: true, path: /x}"),
        (true, true, true)
    );
    assert_eq!(flags("request: {path: /x, credential: false}"), (false, false, true));
}

#[test]
fn a_url_from_outside_goes_to_named_hosts_only() {
    let action = "request: {url: .id, url_hosts: ['*.files.example', 'cdn.example:8443']}";
    let to = |url: &str| first(action, &json!({"id": url}));
    for (url, attach) in [
        ("https://api.example/other/place?x=1", true),
        ("https://a.files.example/x", false),
        ("https://cdn.example:8443/x", false),
    ] {
        let Step::Send(call) = to(url) else {
            panic!("{url} was refused")
        };
        assert_eq!((call.request.url.as_str(), call.attach_credential), (url, attach));
    }
    for url in [
        "https://files.example/x",
        "https://a.b.files.example/x",
        "https://cdn.example/x",
        "http://api.example/x",
        "https://api.example:444/x",
        "https://api.example@evil.com/",
        "https://evil.com/?https://api.example",
        "/x",
        "",
        "https://api.example\\@evil.com/",
        "https://user:pw@api.example/",
        "ftp://api.example/",
    ] {
        let Step::Failed(failure) = to(url) else {
            panic!("{url} was taken")
        };
        assert_eq!(failure.code, Some(ErrorCode::OriginNotAllowed), "{url}");
    }
    // another base is no way out either
    let Step::Send(call) = first("request: {base_url: 'https://elsewhere.example', path: /x}", &json!({})) else {
        panic!("refused")
    };
    assert!(!call.attach_credential);
}

fn body(action: &str, input: &Value) -> (String, String) {
    let call = call(action, input);
    let content_type = call
        .request
        .headers
        .get("content-type")
        .map_or("", |v| v.to_str().expect("text"));
    (
        content_type.to_owned(),
        String::from_utf8(call.request.body.clone()).expect("text"),
    )
}

#[test]
fn bodies_come_in_all_forms() {
    let input = json!({"id": "a b", "none": null, "list": [1, null]});
    let post = |rest: &str| body(&format!("request: {{method: POST, path: /x, {rest}}}"), &input);
    assert_eq!(
        post("body: '{id, none, list}'"),
        (
            "application/json".to_owned(),
            r#"{"id":"a b","list":[1,null]}"#.to_owned()
        )
    );
    assert_eq!(post("body: [1, {a: null}]").1, r#"[1,{"a":null}]"#);
    assert_eq!(
        post("form: '{id, none, list}'"),
        (
            "application/x-www-form-urlencoded".to_owned(),
            "id=a+b&list=%5B1%2Cnull%5D".to_owned()
        )
    );
    assert_eq!(
        post("content: .id"),
        ("application/octet-stream".to_owned(), "a b".to_owned())
    );
    assert_eq!(
        post("content: '{base64: \"aGk=\"}', headers: {Content-Type: image/x}"),
        ("image/x".to_owned(), "hi".to_owned())
    );
    assert_eq!(post("safe: false"), (String::new(), String::new()));
    let call = first("request: {method: POST, path: /x, content: '{base64: 7}'}", &input);
    assert!(matches!(call, Step::Failed(Failure { user_error: true, .. })));
}

#[test]
fn a_multipart_form_cannot_be_broken_out_of() {
    let parts = r#"'[{name: "file", filename: .id, type: "text/plain", content: "hi"},
        {name: "x", content: {base64: "aGk="}}]'"#;
    let (content_type, text) = body(
        &format!("request: {{method: POST, path: /x, multipart: {parts}}}"),
        &json!({"id": "a\"\r\nX: y"}),
    );
    let boundary = content_type
        .strip_prefix("multipart/form-data; boundary=")
        .expect("a boundary");
    let disposition = "Content-Disposition: form-data; name=";
    assert_eq!(
        text,
        format!(
            "--{boundary}\r\n{disposition}\"file\"; filename=\"a%22%0D%0AX: y\"\r\n\
         Content-Type: text/plain\r\n\r\nhi\r\n\
         --{boundary}\r\n{disposition}\"x\"\r\n\r\nhi\r\n--{boundary}--\r\n"
        )
    );
    let (other, _) = body("request: {method: POST, path: /x, multipart: '[]'}", &json!({}));
    assert_eq!(other, content_type, "the boundary comes from the injected source");
}

#[test]
fn defaults_can_be_replaced() {
    let call = call(
        "request: {path: /x, headers: '{Accept: \"text/csv\", \"X-A\": null, \"X-B\": 7}'}",
        &json!({}),
    );
    assert_eq!(call.request.headers["accept"], "text/csv");
    assert_eq!(call.request.headers["x-b"], "7");
    assert!(!call.request.headers.contains_key("x-a"));
    assert!(
        call.request.headers["user-agent"]
            .to_str()
            .expect("text")
            .starts_with("valetkey/")
    );
}
