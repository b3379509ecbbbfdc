//! Every field of every route: wrong type, missing, too long, unknown. Nothing of it is stored, nothing of it repeated.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::api::Answer;
use crate::support::patch;
use crate::support::secret;
use crate::support::stage::Stage;

/// What a field takes.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Flag,
    Number,
    Object,
    List,
}

/// Every route with a body, and the kinds of its fields; a `!` marks the ones that must be there.
const ROUTES: &str = "
    POST /api/actions/connector/new \
        !name:text !connector_type_id:text config:object secrets:object auth_mode:text legacyRedirectUri:flag
    PUT  /api/actions/connector/api                       !name:text config:object secrets:object
    POST /api/actions/connector/api/_execute              !params:object connection:text
    POST /api/actions/connector/api/_test                 connection:text
    POST /api/actions/connector/api/_start_oauth_flow     returnUrl:text confirm:flag scopes:list connection:text
    POST /api/actions/connector/api/_oauth_cancel         !state:text
    POST /api/actions/connector/api/_oauth_disconnect     connection:text
    POST /api/actions/connectors/_me/auth_status
    POST /api/actions/connector/api/_oauth_access_token   minimumValiditySeconds:number rejectedToken:text connection:text
    POST /api/security/api_keys \
        !name:text !privileges:list spaces:list profileUid:text connectors:list actions:list expiration:text";

/// A route with a body that it takes, and its fields.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    body: Value,
    fields: Vec<(&'static str, Kind)>,
}

pub(crate) fn routes(stage: &Stage) -> Vec<Route> {
    let field = |word: &'static str| {
        let (name, kind) = word.split_once(':').expect("a field and its kind");
        let kind = match kind {
            "text" => Kind::Text,
            "flag" => Kind::Flag,
            "number" => Kind::Number,
            "object" => Kind::Object,
            _ => Kind::List,
        };
        (name, kind)
    };
    let read = |line: &'static str| {
        let mut words = line.split_whitespace();
        let method = words.next()?.parse().expect("a method");
        let path = words.next().expect("a path");
        Some(Route {
            method,
            path,
            body: body_of(path, stage),
            fields: words.map(field).collect(),
        })
    };
    ROUTES.lines().filter_map(read).collect()
}

fn body_of(path: &str, stage: &Stage) -> Value {
    match path.rsplit('/').next().expect("a last part") {
        "new" => stage.connector(),
        "api" => stage.connector_with(&json!({"connector_type_id": null}), &json!({})),
        "_execute" => json!({"params": {"subAction": "request", "subActionParams": {"method": "GET", "path": "/"}}}),
        "_oauth_cancel" => json!({"state": "x"}),
        "api_keys" => json!({"name": "k", "privileges": ["connectors:read"]}),
        _ => json!({}),
    }
}

async fn send(stage: &Stage, route: &Route, body: &Value) -> Answer {
    Answer::to(stage.user.request(route.method.clone(), route.path).json(body)).await
}

/// Values of every kind but one.
fn others(kind: Kind) -> Vec<Value> {
    let values = [
        (Kind::Text, json!("hunter2")),
        (Kind::Flag, json!(true)),
        (Kind::Number, json!(7)),
        (Kind::Object, json!({"hunter2": 1})),
        (Kind::List, json!([["hunter2"]])),
    ];
    let mut others: Vec<_> = values.into_iter().filter(|(k, _)| *k != kind).map(|(_, v)| v).collect();
    match kind {
        Kind::List => others.push(json!([7])),
        Kind::Number => others.extend([json!(-1), json!(1.5), json!("7"), json!(1e30)]),
        _ => {}
    }
    others
}

/// The keys and connectors there are, and how `api` looks.
pub(crate) async fn stored(stage: &Stage) -> Value {
    let connectors = stage.admin.get("/api/actions/connectors").await.expect(200);
    json!([connectors, stage.admin.get("/api/security/api_keys").await.expect(200)])
}

#[tokio::test]
async fn a_field_of_the_wrong_type_is_named_and_not_repeated() {
    let stage = Stage::per_user().await;
    let before = stored(&stage).await;
    for route in routes(&stage) {
        for (field, kind) in &route.fields {
            let field = field.trim_start_matches('!');
            for value in others(*kind) {
                let mut body = route.body.clone();
                body[field] = value.clone();
                let answer = send(&stage, &route, &body).await;
                assert_eq!(answer.status, 400, "{} {field}={value}: {}", route.path, answer.text());
                let refusal = answer.refused(400, "validation_failed");
                let message = refusal["message"].as_str().expect("a message");
                assert!(
                    message.contains(field) && !message.contains("hunter2"),
                    "{} {field}={value}: {message}",
                    route.path
                );
            }
        }
    }
    assert_eq!(stored(&stage).await, before);
}

#[tokio::test]
async fn a_missing_field_is_named() {
    let stage = Stage::per_user().await;
    let before = stored(&stage).await;
    for route in routes(&stage) {
        for field in route.fields.iter().filter_map(|(field, _)| field.strip_prefix('!')) {
            let mut body = route.body.clone();
            patch(&mut body, &json!({field: null}));
            let refusal = send(&stage, &route, &body).await.refused(400, "validation_failed");
            assert!(
                refusal["message"].as_str().is_some_and(|m| m.contains(field)),
                "{}: {refusal}",
                route.path
            );
        }
    }
    let without_action = json!({"params": {"subActionParams": {}}});
    stage
        .user
        .on("api", "_execute", without_action)
        .await
        .refused(400, "validation_failed");
    assert_eq!(stored(&stage).await, before);
}

#[tokio::test]
async fn d26_an_unknown_field_is_named() {
    let stage = Stage::per_user().await;
    let before = stored(&stage).await;
    let strangers = [
        "tenant_id",
        "role",
        "owner",
        "shared",
        "created_by",
        "granted_scopes",
        "space",
        "id",
        "__proto__",
        "constructor",
    ];
    for route in routes(&stage) {
        for field in strangers {
            let mut body = route.body.clone();
            body[field] = "x".into();
            let refusal = send(&stage, &route, &body).await.refused(400, "unknown_field");
            assert!(
                refusal["message"].as_str().is_some_and(|m| m.contains(field)),
                "{}: {refusal}",
                route.path
            );
        }
    }
    let mut nested = json!({"params": {"subAction": "request", "subActionParams": {"path": "/"}}});
    nested["params"]["tool"] = "x".into();
    stage
        .user
        .on("api", "_execute", nested)
        .await
        .refused(400, "unknown_field");
    assert_eq!(stored(&stage).await, before);
}

#[tokio::test]
async fn texts_have_a_length() {
    let stage = Stage::per_user().await;
    let before = stored(&stage).await;
    let long = |n: usize| Value::from("x".repeat(n));
    let cases = [
        (0, "name", long(256)),
        (0, "name", json!("")),
        (0, "name", json!("  ")),
        (0, "name", json!("a\u{0}b")),
        (0, "connector_type_id", long(5000)),
        (0, "connector_type_id", json!(".unknown")),
        (0, "auth_mode", json!("per_user")),
        (1, "name", long(256)),
        (2, "connection", long(65)),
        (2, "connection", json!("")),
        (2, "connection", json!(" x")),
        (3, "connection", long(65)),
        (4, "connection", long(65)),
        (4, "scopes", json!(vec!["read"; 10_000])),
        (6, "connection", long(65)),
        (8, "connection", long(65)),
        (8, "minimumValiditySeconds", json!(86_401)),
        (8, "rejectedToken", long(17 * 1024)),
        (9, "name", long(256)),
        (9, "name", json!("")),
        (9, "privileges", json!([])),
        (9, "privileges", json!(["root"])),
        (9, "spaces", json!([])),
        (9, "spaces", json!(["Team"])),
        (9, "spaces", json!([long(65)])),
        (9, "profileUid", long(129)),
        (9, "profileUid", json!("null")),
        (9, "profileUid", json!("*")),
        (9, "profileUid", json!("")),
        (9, "profileUid", json!("zoë")),
        (9, "connectors", json!(["_x"])),
        (9, "connectors", json!(vec!["a"; 1001])),
        (9, "actions", json!([""])),
        (9, "actions", json!([long(129)])),
        (9, "expiration", json!("tomorrow")),
        (9, "expiration", long(1000)),
    ];
    let routes = routes(&stage);
    for (route, field, value) in cases {
        let route = &routes[route];
        let mut body = route.body.clone();
        body[field] = value.clone();
        let answer = send(&stage, route, &body).await;
        let shown = value.to_string().chars().take(40).collect::<String>();
        assert_eq!(answer.status, 400, "{} {field}={shown}: {}", route.path, answer.text());
        answer.refused(400, "validation_failed");
    }
    assert_eq!(stored(&stage).await, before);
}

#[tokio::test]
async fn secrets_are_checked_like_everything_else_and_never_repeated() {
    let stage = Stage::per_user().await;
    let before = stored(&stage).await;
    let canary = secret("secret-in-a-bad-request");
    let cases = [
        json!({"authType": null}),
        json!({"authType": 7}),
        json!({"authType": canary}),
        json!({"authType": "ears"}),
        json!({"clientId": 7}),
        json!({"clientId": ""}),
        json!({"clientId": {"x": canary}}),
        json!({"clientSecret": [canary]}),
        json!({"clientSecret": "x".repeat(100_000)}),
        json!({"scope": 7}),
        json!({"useBasicAuth": canary}),
        json!({"extraParams": canary}),
        json!({"rotation": canary}),
        json!({"token": canary}),
        json!({"password": canary}),
        json!({"unheard_of": canary}),
    ];
    for secrets in cases {
        let body = stage.connector_with(&json!({}), &secrets);
        let answer = stage.admin.post("/api/actions/connector/new", &body).await;
        assert_eq!(answer.status, 400, "{secrets}: {}", answer.text());
        let refusal = answer.expect(400);
        assert!(
            ["validation_failed", "unknown_field"].contains(&refusal["code"].as_str().expect("a code")),
            "{refusal}"
        );
        assert!(!answer.text().contains(&canary), "{}", answer.text());
    }
    let configs = [
        json!({}),
        json!({"baseUrl": 7}),
        json!({"baseUrl": ""}),
        json!({"baseUrl": "ftp://x"}),
        json!({"baseUrl": "x".repeat(3000)}),
        json!({"baseUrl": stage.fake.url, "more": 1}),
    ];
    for config in configs {
        let answer = stage
            .admin
            .post(
                "/api/actions/connector/new",
                &stage.connector_with(&json!({"config": config}), &json!({})),
            )
            .await;
        assert_eq!(answer.status, 400, "{config}: {}", answer.text());
        assert!(
            answer.text().contains("baseUrl") || answer.text().contains("more"),
            "{}",
            answer.text()
        );
    }
    assert_eq!(stored(&stage).await, before);
}
