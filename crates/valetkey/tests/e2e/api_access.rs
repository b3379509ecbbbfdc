//! Who may do what: privileges, spaces, users, and keys that are narrowed.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::api::{Answer, Api, client};
use crate::support::raw;
use crate::support::stage::Stage;
use crate::support::valetkey::Setup;

const PRIVILEGES: [&str; 9] = [
    "connectors:read",
    "connectors:write",
    "connectors:execute",
    "oauth:connect",
    "tokens:read",
    "users:act_as",
    "keys:write",
    "audit:read",
    "admin",
];

/// Every route that needs a key, and the privileges of which one is enough.
const NEEDS: &str = "
    GET    /api/actions/connector_types                         connectors:read
    GET    /api/actions/connector_types/.http                   connectors:read
    GET    /api/actions/connector/api                           connectors:read
    GET    /api/actions/connectors                              connectors:read
    GET    /api/actions/connectors/_search                      connectors:read
    GET    /api/actions/connectors/_me                          oauth:connect
    POST   /api/actions/connector                               connectors:write
    POST   /api/actions/connector/new                           connectors:write
    PUT    /api/actions/connector/missing                       connectors:write
    DELETE /api/actions/connector/missing                       connectors:write
    POST   /api/actions/connector/api/_execute                  connectors:execute
    POST   /api/actions/connector/api/_test                     connectors:execute
    POST   /api/actions/connector/api/_start_oauth_flow         oauth:connect
    GET    /api/actions/connector/api/oauth/start               oauth:connect
    POST   /api/actions/connector/api/_oauth_cancel             oauth:connect
    POST   /api/actions/connector/api/_oauth_disconnect         oauth:connect
    POST   /api/actions/connector/shared/_oauth_disconnect      connectors:write
    POST   /api/actions/connectors/_me/auth_status              connectors:read oauth:connect
    GET    /api/actions/connections                             connectors:write audit:read
    GET    /api/actions/connections/_me                         connectors:read oauth:connect
    POST   /api/actions/connections/_disconnect                 connectors:write
    POST   /api/actions/connector/api/_oauth_access_token       tokens:read
    GET    /api/audit                                           audit:read
    GET    /api/security/api_keys                               keys:write
    GET    /api/security/api_keys/_search                       keys:write
    POST   /api/security/api_keys                               keys:write
    DELETE /api/security/api_keys/missing                       keys:write";

/// A route, with a body that it takes.
pub(crate) struct Need {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) body: Value,
    enough: Vec<&'static str>,
}

/// Every route that needs a key. Where it can be, the call is one that changes nothing.
pub(crate) fn needs() -> Vec<Need> {
    let read = |line: &'static str| {
        let mut words = line.split_whitespace();
        let method: Method = words.next()?.parse().expect("a method");
        let path = words.next().expect("a path");
        let body = if method == Method::GET || method == Method::DELETE {
            Value::Null
        } else {
            body_of(path)
        };
        Some(Need {
            method,
            path,
            body,
            enough: words.collect(),
        })
    };
    NEEDS.lines().filter_map(read).collect()
}

fn body_of(path: &str) -> Value {
    match path.rsplit('/').next().expect("a last part") {
        "missing" => json!({"name": "x"}),
        "connector" | "new" => json!({"name": "x", "connector_type_id": ".none"}),
        "_execute" => json!({"params": {"subAction": "request", "subActionParams": {"path": "/api/whoami"}}}),
        "_oauth_cancel" => json!({"state": "x"}),
        "_disconnect" => json!({"connector_id": "shared", "owner": "shared"}),
        "api_keys" => json!({"name": "x", "privileges": ["keys:write"], "profileUid": "u1"}),
        _ => json!({}),
    }
}

pub(crate) async fn call(api: &Api, method: &Method, path: &str, body: &Value) -> Answer {
    let request = api.request(method.clone(), path);
    Answer::to(if body.is_null() { request } else { request.json(body) }).await
}

/// A stage with the per-user connector `api` and the shared connector `shared`.
pub(crate) async fn stage() -> Stage {
    let stage = Stage::per_user().await;
    let shared = stage.connector_with(&json!({"auth_mode": "shared"}), &json!({}));
    stage.admin.create("shared", &shared).await;
    stage
}

#[tokio::test]
async fn d12_each_privilege_opens_its_routes_and_no_other() {
    let stage = stage().await;
    for privilege in PRIVILEGES {
        let key = stage.admin.make_key(&[privilege], json!({"profileUid": "u1"})).await;
        for Need {
            method,
            path,
            body,
            enough,
        } in needs()
        {
            let answer = call(&key, &method, path, &body).await;
            let what = format!("{privilege}: {method} {path}: {} {}", answer.status, answer.text());
            if privilege == "admin" || enough.contains(&privilege) {
                assert!(
                    answer.status != 401 && answer.status != 403 && answer.status < 500,
                    "{what}"
                );
            } else {
                assert_eq!(answer.status, 403, "{what}");
                answer.refused(403, "privilege_missing");
            }
        }
    }
    stage.admin.get("/api/actions/connector/api").await.expect(200);
}

#[tokio::test]
async fn a_shared_account_is_chosen_by_those_who_may_end_it() {
    let stage = stage().await;
    for privileges in [&["oauth:connect", "connectors:read"][..], &["connectors:write"]] {
        let key = stage.admin.make_key(privileges, json!({"profileUid": "u1"})).await;
        let started = key.on("shared", "_start_oauth_flow", json!({})).await;
        started.refused(403, "privilege_missing");
        let sent_on = key.get("/api/actions/connector/shared/oauth/start").await;
        sent_on.refused(403, "privilege_missing");
    }
    let both = stage
        .admin
        .make_key(&["oauth:connect", "connectors:write"], json!({}))
        .await;
    both.on("shared", "_start_oauth_flow", json!({})).await.expect(200);
}

#[tokio::test]
async fn d11_every_route_of_the_description_needs_a_key_but_these() {
    let stage = Stage::new().await;
    let document = stage.admin.get("/api/openapi.json").await.expect(200);
    let open = [
        "/healthz",
        "/readyz",
        "/metrics",
        "/api/status",
        "/api/openapi.json",
        "/api/session",
        "/api/session/oidc/start",
        "/api/session/oidc/callback",
        "/connect/{ticket}",
        "/connect/{ticket}/continue",
        "/connect/{ticket}/cancel",
        "/api/actions/connector/_oauth_callback/{context}",
        "/api/actions/connector/_oauth_callback",
        "/api/actions/connector/_oauth_callback_script",
    ];
    let paths: BTreeMap<String, BTreeMap<String, Value>> =
        serde_json::from_value(document["paths"].clone()).expect("paths");
    assert!(paths.len() >= 20, "{:?}", paths.keys());
    for (path, methods) in &paths {
        for method in methods
            .keys()
            .filter(|m| !open.contains(&path.as_str()) && m.len() <= 7)
        {
            let url = stage.admin.url(&path.replace(['{', '}'], ""));
            let method: Method = method.to_uppercase().parse().expect("a method");
            Answer::to(client().request(method, url))
                .await
                .refused(401, "unauthenticated");
        }
    }
    for Need { path, .. } in needs() {
        let generic = path
            .replace("/connector/api", "/connector/{id}")
            .replace("/connector/shared", "/connector/{id}");
        let generic = generic
            .replace("/connector/new", "/connector/{id}")
            .replace("/missing", "/{id}")
            .replace("/.http", "/{type}");
        assert!(
            paths.contains_key(&generic) || paths.contains_key(&generic.replace("{type}", "{type_id}")),
            "{generic} is not described"
        );
    }
}

#[tokio::test]
async fn the_older_paths_are_the_same_routes() {
    let stage = Stage::per_user().await;
    let new = stage.user.get("/api/actions/connectors").await.expect(200);
    assert_eq!(stage.user.get("/internal/actions/connectors").await.expect(200), new);
    let started = stage
        .user
        .post("/internal/actions/connector/api/_start_oauth_flow", &json!({}))
        .await
        .expect(200);
    assert!(started["authorizationUrl"].is_string());
    let url = stage.user.url("/internal/actions/connectors");
    Answer::to(client().get(url)).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_narrowed_key_reads_the_history_of_what_it_names() {
    let stage = stage().await;
    let key = async |connectors: &[&str]| {
        let narrow = json!({"connectors": connectors});
        stage.admin.make_key(&["audit:read"], narrow).await
    };
    let one = key(&["api"]).await;
    let records = one.get("/api/audit").await.expect(200);
    let records = records["records"].as_array().expect("a list");
    assert!(!records.is_empty());
    assert!(records.iter().all(|record| record["connector"] == "api"), "{records:?}");
    one.get("/api/audit?connector=shared")
        .await
        .refused(404, "connector_not_found");
    let two = key(&["api", "shared"]).await;
    two.get("/api/audit").await.refused(400, "validation_failed");
    two.get("/api/audit?connector=shared").await.expect(200);
}

#[tokio::test]
async fn a_narrowed_key_sees_and_runs_only_what_it_names() {
    let stage = stage().await;
    let narrow = json!({"connectors": ["api"], "actions": ["request"], "profileUid": "u1"});
    let key = stage
        .admin
        .make_key(
            &[
                "connectors:read",
                "connectors:execute",
                "connectors:write",
                "oauth:connect",
                "tokens:read",
            ],
            narrow,
        )
        .await;
    stage.connect(&key, "api").await;
    assert_eq!(key.call("api", "/api/whoami").await["status"], "ok");
    let listed = key.get("/api/actions/connectors").await.expect(200);
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    key.get("/api/actions/connector/shared")
        .await
        .refused(404, "connector_not_found");
    key.token("shared").await.refused(404, "connector_not_found");
    key.on("shared", "_start_oauth_flow", json!({}))
        .await
        .refused(404, "connector_not_found");
    key.delete("/api/actions/connector/shared")
        .await
        .refused(404, "connector_not_found");
    key.post("/api/actions/connector/new", &stage.connector())
        .await
        .refused(403, "privilege_missing");
    let other = json!({"params": {"subAction": "anything", "subActionParams": {}}});
    key.on("api", "_execute", other)
        .await
        .refused(403, "action_not_allowed");
}

#[tokio::test]
async fn d13_tricks_with_paths_open_nothing() {
    let stage = Stage::per_user().await;
    let reader = stage.admin.make_key(&["audit:read"], json!({})).await;
    let tricks = [
        "//api/actions/connector/api",
        "/api//actions/connector/api",
        "/api/./actions/connector/api",
        "/x/../api/actions/connector/api",
        "/api/%2e%2e/api/actions/connector/api",
        "/api/actions/connector/api/",
        "/API/actions/connector/api",
        "/api/actions/connector/api;a=b",
        "/api/actions/connector/api%00",
        "/api/actions/connector/api%2f",
        "/s/default//api/actions/connector/api",
        "/s/default/s/default/api/actions/connector/api",
        "/internal/../api/actions/connector/api",
        "/api%2factions%2fconnector%2fapi",
        "http://localhost/api/actions/connector/api",
        "*",
    ];
    for key in [&reader, &stage.admin] {
        for target in tricks {
            for method in ["DELETE", "POST"] {
                let extra = "x-http-method-override: DELETE\r\nx-original-url: /api/actions/connector/api\r\nx-rewrite-url: /healthz\r\n";
                let head = format!(
                    "{method} {target} HTTP/1.1\r\nhost: x\r\nauthorization: ApiKey {}\r\n{extra}content-length: 0\r\n\r\n",
                    key.key
                );
                let answer = raw::exchange(&stage.valetkey.base(), &head).await;
                let status: u16 = answer
                    .get(9..12)
                    .and_then(|s| s.parse().ok())
                    .unwrap_or_else(|| panic!("{target}: {answer}"));
                let canonical = target.starts_with("http://") && method == "DELETE" && key.key == stage.admin.key;
                assert!(
                    canonical || [400, 403, 404, 405].contains(&status),
                    "{method} {target}: {answer}"
                );
                if canonical {
                    stage.admin.post("/api/actions/connector/api", &stage.connector()).await;
                }
            }
        }
    }
    stage.admin.get("/api/actions/connector/api").await.expect(200);
}

#[tokio::test]
async fn d31_there_are_no_debug_routes() {
    let stage = Stage::with(Setup::new()).await;
    for path in [
        "/debug",
        "/debug/pprof",
        "/pprof",
        "/admin",
        "/actuator",
        "/env",
        "/.git/config",
        "/api",
        "/api/actions",
        "/internal",
        "/s",
        "/s/default",
        "/",
    ] {
        let answer = Answer::to(client().get(stage.admin.url(path))).await;
        answer.refused(404, "route_not_found");
    }
    let metrics = stage.admin.metrics().await;
    assert!(metrics.contains("valetkey_"), "{metrics}");
    assert!(
        !metrics.contains("127.0.0.1") && !metrics.contains("/api/"),
        "labels come from closed sets: {metrics}"
    );
}
