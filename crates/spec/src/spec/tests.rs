use std::sync::LazyLock;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::json;
use valetkey_core::fake::FakeRng;

use super::*;
use crate::{Catalogue, Step};

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::embedded().expect("the catalogue"));

const HEAD: &str = "id: .x\nname: X\nversion: 1\ndescription: x\n";
const REST: &str = "auth: [{type: none}]\ntest: {request: {path: /}}\n";
const ACTION: &str = "actions:\n  a:\n    description: x\n    effect: read\n";

fn refusal(text: &str) -> String {
    Spec::parse("x.yaml", text)
        .expect_err(&format!("{text} was taken"))
        .to_string()
}

fn assert_refused(text: &str, expected: &str) {
    let refused = refusal(text);
    assert!(refused.starts_with(expected), "{refused}\nis not\n{expected}");
}

/// A bad action is refused with file, line and field.
#[test]
fn faults_of_actions_are_told_with_their_place() {
    for (rest, expected) in [
        ("    requst: {path: /}\n", "12: actions.a.requst: unknown field"),
        ("", "9: actions.a: needs either request or requests"),
        (
            "    request: {path: /}\n    output: .a[\n",
            "13: actions.a.output: is not a jq expression",
        ),
        (
            "    request: {path: /}\n    output: env.HOME\n",
            "13: actions.a.output: env is not defined",
        ),
        (
            "    input: {properties: {b: {type: strin}}}\n    request: {path: /}\n",
            "12: actions.a.input.properties.b.type: ",
        ),
        (
            "    request: {path: '/b/{id}'}\n",
            "12: actions.a.request.path: {id} is neither a field of the input nor a variable",
        ),
        (
            "    request: {path: /, method: CONNECT}\n",
            "12: actions.a.request.method: must be GET, HEAD,",
        ),
        (
            "    request: {path: /, url: .x}\n",
            "12: actions.a.request: needs exactly one of path, url and passthrough",
        ),
        (
            "    request: {path: /, body: {}, form: {}}\n",
            "12: actions.a.request: has more than one of body, form, content and multipart",
        ),
        (
            "    steps: [{request: {path: /}}]\n    request: {path: /}\n",
            "12: actions.a.steps: stands alone",
        ),
        (
            "    steps:\n      - request: {path: /}\n        repeat: {next: {}, max: 3}\n",
            "14: actions.a.steps[0].repeat.next: names no variable",
        ),
        (
            "    request: {path: /}\n    repeat: {next: {c: .c}, max: 0}\n",
            "13: actions.a.repeat.max: must be a number from 1 on",
        ),
        (
            "    request: {path: /, headers: {Host: x}}\n",
            "12: actions.a.request.headers.Host: is not a header that can be sent",
        ),
        ("    request: {path: /}\n    request: {path: /}\n", "13: "),
    ] {
        let text = format!("{HEAD}{REST}base_url: https://api.example\n{ACTION}{rest}");
        assert_refused(&text, &format!("x.yaml:{expected}"));
    }
}

/// A bad spec is refused with file, line and field.
#[test]
fn faults_are_told_with_their_place() {
    let action = format!("{ACTION}    request: {{path: /}}\n");
    for (rest, expected) in [
        ("", "6: test.request: needs a base_url, here or in the spec"),
        ("base_url: http://x.y\n", "7: base_url: must start with https://"),
        (
            "base_url: 'https://{sub}.x.y'\n",
            "7: base_url: {sub} is not a field of the config",
        ),
        ("base_url: https://x.y\nhosts: ['*']\n", "8: hosts[0]: must be a host"),
        (
            "base_url: https://x.y\nfunctions: 'def x: y;'\n",
            "8: functions: y is not defined",
        ),
        (
            "base_url: https://x.y\noauth: {authorize: {pkce: false}}\n",
            "8: oauth.authorize.pkce_off_reason: must say why",
        ),
        (
            "base_url: https://x.y\noauth: {rotate: none}\n",
            "8: oauth.rotate: unknown field",
        ),
        (
            "base_url: https://x.y\nconfig: {type: array}\n",
            "8: config: must have the type object",
        ),
        (
            "base_url: https://x.y\ndocs_url: x.y\n",
            "8: docs_url: is not an absolute URL",
        ),
    ] {
        assert_refused(&format!("{HEAD}{REST}{rest}{action}"), &format!("x.yaml:{expected}"));
    }
    let whole = format!("{HEAD}{REST}base_url: https://x.y\n{action}");
    for (from, to, expected) in [
        ("effect: read", "effect: reads", "11: actions.a.effect: "),
        ("version: 1", "version: 0", "3: version: starts at 1"),
        ("id: .x", "id: x", "1: id: "),
        ("name: X", "name: ' '", "2: name: is empty"),
        ("  a:", "  a b:", "9: actions.a b: is not a name"),
        ("[{type: none}]", "[]", "5: auth: names no auth type"),
    ] {
        assert_refused(&whole.replacen(from, to, 1), &format!("x.yaml:{expected}"));
    }
    let none = format!("{HEAD}{REST}base_url: https://x.y\nactions: {{}}\n");
    assert_refused(&none, "x.yaml:8: actions: names no action");
}

/// Whatever a file loses, it is read or refused: nothing panics.
#[test]
fn broken_files_are_refused_quietly() {
    let whole = include_str!("../../../../connectors/notion/spec.yaml");
    let lines: Vec<_> = whole.lines().collect();
    for cut in 0..lines.len() {
        let rest: Vec<_> = lines
            .iter()
            .enumerate()
            .filter(|(i, _)| *i != cut)
            .map(|(_, line)| *line)
            .collect();
        if let Err(error) = Spec::parse("x.yaml", &rest.join("\n")) {
            assert!(error.line.is_some(), "{error}");
        }
        // cut off at a line, a file may still be one
        let _ = Spec::parse("x.yaml", &lines[..cut].join("\n"));
    }
}

fn spec(rest: &str) -> Spec {
    Spec::parse("x.yaml", &format!("{HEAD}{rest}")).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn configs_are_checked_and_completed() {
    let config = "config:\n  required: [sub]\n  properties:\n    sub: {type: string}\n    \
                  region: {enum: [eu, us], default: eu}\n";
    let hosts = "base_url: 'https://{sub}.example.com/{region}'\nhosts: ['files.example.com']\n";
    let spec = spec(&format!("{config}{hosts}{REST}{ACTION}    request: {{path: /}}\n"));
    let check = |config: Value| spec.check_config(config.as_object().expect("an object"));
    let config = check(json!({"sub": "acme"})).expect("fine");
    assert_eq!(Value::Object(config.clone()), json!({"sub": "acme", "region": "eu"}));
    let hosts = spec.allowed_hosts(&config, &Map::new()).expect("hosts");
    let hosts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["https://acme.example.com:443", "https://files.example.com:443"]);
    assert_eq!(
        spec.base_url(&config, &Map::new()).expect("a URL").as_str(),
        "https://acme.example.com/eu"
    );
    for (config, expected) in [
        (json!({}), "config.sub: is required"),
        (json!({"sub": "a.b"}), "config.sub: must be one label of a host name"),
        (
            json!({"sub": "a", "region": "x"}),
            "config.region: must be one of eu, us",
        ),
        (
            json!({"sub": "a", "more": 1}),
            "config.more: is not a field that exists here",
        ),
    ] {
        let refused = check(config).expect_err("refused")[0].to_string();
        assert!(refused.starts_with(expected), "{refused}");
    }
}

#[test]
fn what_only_the_connection_knows_may_come_later() {
    let spec = spec(&format!(
        "base_url: '{{metadata.instance_url}}/data'\n{REST}{ACTION}    request: {{path: /x}}\n"
    ));
    assert_eq!(spec.check_config(&Map::new()), Ok(Map::new()));
    assert_eq!(spec.allowed_hosts(&Map::new(), &Map::new()), Ok(Vec::new()));
    let metadata = json!({"instance_url": "https://eu1.example.com"});
    let metadata = metadata.as_object().expect("an object");
    assert_eq!(
        spec.allowed_hosts(&Map::new(), metadata).expect("hosts")[0].to_string(),
        "https://eu1.example.com:443"
    );
    let action = spec.action("a").expect("the action");
    let (none, rng) = (Map::new(), FakeRng::seeded(1));
    let start = |metadata| {
        action.start(
            &spec,
            &CallContext {
                config: &none,
                auth_type: "none",
                metadata,
            },
            json!({}),
            &rng,
        )
    };
    let Step::Send(call) = start(metadata).next(None) else {
        panic!("not sent")
    };
    assert_eq!(call.request.url.as_str(), "https://eu1.example.com/data/x");
    let Step::Failed(failure) = start(&none).next(None) else {
        panic!("sent")
    };
    assert_eq!(failure.message, "metadata.instance_url: is required");
}

fn response(status: u16, body: &str) -> Response {
    Response {
        status,
        headers: HeaderMap::new(),
        body: Bytes::from(body.to_owned()),
    }
}

#[test]
fn a_rejected_token_is_recognised() {
    let rejects = |id: &str, status, body| {
        CATALOGUE
            .get(id)
            .expect("a spec")
            .rejects_token(&response(status, body))
    };
    for id in [".http", ".notion", ".slack2", ".sharepoint-online"] {
        assert!(rejects(id, 401, ""), "{id}");
        assert!(!rejects(id, 200, "{}"), "{id}");
        assert!(!rejects(id, 403, "{\"error\": \"x\"}"), "{id}");
    }
    assert!(rejects(".slack2", 200, r#"{"ok": false, "error": "token_expired"}"#));
    assert!(rejects(".slack2", 200, r#"{"ok": false, "error": "invalid_auth"}"#));
    assert!(!rejects(".slack2", 200, r#"{"ok": false, "error": "missing_scope"}"#));
    assert!(!rejects(".slack2", 200, r#"{"ok": true, "error": "token_expired"}"#));
    assert!(!rejects(".slack2", 200, "not json"));
}

/// Runs move between threads, and specs are shared by them.
const _: () = {
    const fn can_move<T: Send>() {}
    const fn can_share<T: Send + Sync>() {}
    can_move::<Run>();
    can_share::<Spec>();
};

#[test]
fn a_run_is_driven_in_one_order_only() {
    let spec = spec(&format!(
        "base_url: https://api.example\n{REST}{ACTION}    request: {{path: /x}}\n"
    ));
    let none = Map::new();
    let ctx = CallContext {
        config: &none,
        auth_type: "none",
        metadata: &none,
    };
    let rng = FakeRng::seeded(1);
    let start = || {
        spec.action("a")
            .expect("the action")
            .start(&spec, &ctx, json!({}), &rng)
    };
    assert!(
        matches!(start().next(Some(response(200, "{}"))), Step::Failed(_)),
        "an answer before a question"
    );
    let mut run = start();
    assert!(matches!(run.next(None), Step::Send(_)));
    assert!(matches!(run.next(None), Step::Failed(_)), "no answer");
    assert!(
        matches!(run.next(Some(response(200, "{}"))), Step::Failed(_)),
        "it is over"
    );
    let mut run = start();
    assert!(matches!(run.next(None), Step::Send(_)));
    assert!(matches!(run.next(Some(response(200, "[1]"))), Step::Done(value) if value == json!([1])));
    assert!(matches!(run.next(None), Step::Failed(_)), "it is over");
}

#[test]
fn what_needs_no_expression_is_quick() {
    let quick = |id: &str, action: &str| {
        CATALOGUE
            .get(id)
            .expect("a spec")
            .action(action)
            .expect("an action")
            .is_quick()
    };
    assert!(quick(".http", "request"));
    assert!(quick(".notion", "getPage"));
    assert!(!quick(".notion", "queryDataSource"));
    assert!(!quick(".slack2", "sendMessage"));
}

#[test]
fn a_type_describes_itself() {
    let http = CATALOGUE.get(".http").expect("a spec");
    assert_eq!(
        http.summary(),
        json!({
            "id": ".http",
            "name": "HTTP",
            "description": http.description,
            "enabled": true,
            "supported_feature_ids": ["workflows", "agentBuilder"],
            "auth_types": AuthKind::ALL.map(AuthKind::as_str),
            "is_technical_preview": false,
        })
    );
    let whole = http.describe();
    assert_eq!(whole["config_schema"]["required"], json!(["baseUrl"]));
    assert_eq!(whole["auth_types"][5]["mode"], "per-user");
    assert_eq!(
        whole["auth_types"][5]["schema"]["properties"]["useBasicAuth"]["default"],
        true
    );
    assert!(whole["auth_types"][5]["schema"]["properties"]["rotation"].is_object());
    let action = &whole["actions"][0];
    assert_eq!(
        (&action["name"], &action["tool"], &action["effect"]),
        (&json!("request"), &json!(true), &json!("write"))
    );
    assert_eq!(action["input_schema"]["required"], json!(["path"]));
    assert_eq!(action["input_schema"]["additionalProperties"], false);
    for spec in CATALOGUE.iter() {
        let text = spec.describe().to_string();
        assert!(!text.contains("elastic") && !text.contains("kibana"), "{}", spec.id);
    }
}
